"""Countries and cities of the simulated users: real names first, made-up ones behind."""

import numpy as np
import numpy.typing as npt

COUNTRIES = {
    "Russia": 143_035,
    "Ukraine": 8_273,
    "Belarus": 3_293,
    "Kazakhstan": 3_172,
    "Turkey": 1_606,
    "Finland": 1_599,
    "Azerbaijan": 1_542,
    "Estonia": 178,
    "Latvia": 175,
    "Cyprus": 170,
    "Switzerland": 162,
}
"""Users of each country in the course's feed, which the simulated ones follow in proportion."""

_CITIES = 3_915
_FEWEST_CITIES = 4
_ZIPF_EXPONENT = 1.09  # gives Moscow its 13 % of all users

_LARGEST = {
    "Russia": "Moscow,Saint Petersburg,Novosibirsk,Yekaterinburg,Kazan,Nizhny Novgorod,Samara,Omsk,Chelyabinsk,Ufa,"
    "Rostov-on-Don,Krasnoyarsk,Perm,Voronezh,Volgograd,Krasnodar,Saratov,Tyumen,Tolyatti,Izhevsk",
    "Ukraine": "Kyiv,Kharkiv,Odesa,Dnipro,Lviv,Zaporizhzhia,Kryvyi Rih,Mykolaiv",
    "Belarus": "Minsk,Gomel,Mogilev,Vitebsk,Grodno,Brest",
    "Kazakhstan": "Almaty,Astana,Shymkent,Karaganda,Aktobe,Pavlodar",
    "Turkey": "Istanbul,Ankara,Izmir,Bursa,Antalya",
    "Finland": "Helsinki,Espoo,Tampere,Vantaa,Oulu",
    "Azerbaijan": "Baku,Ganja,Sumqayit,Lankaran,Mingachevir",
    "Estonia": "Tallinn,Tartu,Narva,Parnu",
    "Latvia": "Riga,Daugavpils,Liepaja,Jelgava",
    "Cyprus": "Nicosia,Limassol,Larnaca,Paphos",
    "Switzerland": "Zurich,Geneva,Basel,Lausanne",
}

_STEMS = (
    "Bel Ber Bor Chern Dal Dub Glaz Gor Ivan Kam Kar Klin Kol Kos Kras Kur Lab Lesn Lip Lug Mal Mir Mor Niv "
    "Nov Ol Orl Ost Pav Pet Pol Pok Rad Rech Rod Rud Sar Sel Ser Sin Slav Sosn Star Step Sukh Svet Tar Tem "
    "Tikh Ul Var Ver Vil Vol Vysok Yar Zal Zel Zim Zvan"
)
_ENDINGS = (
    "insk ovsk etsk ograd ogorsk opol ovo ino ichi any aya oye iyevo ets itsa ovka enka ishche ki y uga oma "
    "ara odol osel omorsk oretsk okamsk ovrag ozersk obor odar olesye oluki omir opavlovsk oslav ostok "
    "otroitsk ovodsk ozavodsk oyarsk azan ama ansk ashevo asov ayevsk edar egda elets enets erevo esk etka "
    "evka ezhsk ibor idovo igra ikha ilovo imsk irsk istan"
)


def cities_by_country() -> list[tuple[npt.NDArray[np.object_], npt.NDArray[np.float64]]]:
    """Return for each country, in the order of COUNTRIES, its city names and their shares, largest first."""
    made_up = (stem + ending for ending in _ENDINGS.split() for stem in _STEMS.split())
    total = sum(COUNTRIES.values())
    catalogue = []
    for country, users in COUNTRIES.items():
        names = _LARGEST[country].split(",")
        wanted = max(_FEWEST_CITIES, round(_CITIES * users / total))
        names = names[:wanted] + [next(made_up) for _ in range(wanted - len(names))]
        shares = np.arange(1, len(names) + 1, dtype=np.float64) ** -_ZIPF_EXPONENT
        catalogue.append((np.array(names, dtype=object), shares / shares.sum()))
    return catalogue
