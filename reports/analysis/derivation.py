"""How to know an init that is derived from another by its name, as `meanvar:imagenet`."""


def is_derived(init: str) -> bool:
    """Tell whether an init was made from another's weights: to explain that one, not for use."""
    return ":" in init


def source_of(init: str) -> str:
    """Return the init that a derived one is made from, and any other as it is."""
    return init.split(":")[1] if is_derived(init) else init


def source_identity(init: str, identity: str) -> str:
    """Return the identity of the weights that a derived init is made from; of any other its own."""
    return identity.split(":", init.count(":"))[-1] if is_derived(init) else identity
