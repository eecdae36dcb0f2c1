from bench.away import Answer, figures_of


def test_the_first_second_and_what_comes_after_it_are_told_apart() -> None:
    answers = [Answer(0.0, 0.3, 200, "memory"), Answer(0.9, 0.1, 503, ""), Answer(1.0, 0.002, 200, "memory")]
    answers += [Answer(1.5, 0.004, 200, "exact"), Answer(2.0, 0.002, 200, "memory")]
    found = figures_of("x", answers, "memory")
    assert (found["x.asked"], found["x.failed"], found["x.elsewhere"]) == (5, 1, 1)
    assert (found["x.first_ms"], found["x.p50_ms"], found["x.max_ms"]) == (300, 2, 4)
    assert 2 <= found["x.p99_ms"] <= 4.1
