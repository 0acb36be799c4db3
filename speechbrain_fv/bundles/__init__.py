"""Published models: fetched from the hub, checked, and loaded safely."""
