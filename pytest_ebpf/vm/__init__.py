"""Getting a guest: kernel images (catalogue, archive, cache) and the machines that boot them."""

__all__: list[str] = []
