"""What a first look needs: a simulated network and embedded services."""
