"""A method of one object, with something standing before it; whatever else wraps it, it can be taken away again."""

from collections.abc import Callable
from functools import partial
from typing import Any

_OWN = object()


class Shadow:
    """Stand before a method of one object: ``around(inner, *args, **kwargs)`` is called in its place.

    Unlike a hook it sees the whole call, errors included, and callers of ``model.forward`` do not get past it (PEFT,
    Accelerate). An object and not a closure, so that the owner can still be copied and pickled; it then stands before
    the method of the copy.

    Args:
        owner: whose method; it keeps the shadow among its own attributes.
        name: of the method.
        around: what is called, itself a method of something that can be pickled.
    """

    def __init__(self, owner: Any, name: str, around: Callable[..., Any]) -> None:
        self._owner, self._name, self._around = owner, name, around
        self._before = vars(owner).get(name, _OWN)
        self._has_own = self._before is not _OWN
        if not self._has_own:
            self._before = None
        vars(owner)[name] = self

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call what stands here, or what stood here before."""
        if self._around is None:
            return self.__wrapped__(*args, **kwargs)
        inner = self._before
        if not self._has_own:
            # Not the bound method: where a compiled graph breaks, Dynamo makes such a one again of its name, and under
            # that name this object stands.
            inner = partial(getattr(type(self._owner), self._name), self._owner)
        return self._around(inner, *args, **kwargs)

    @property
    def __wrapped__(self) -> Any:
        """The method as it was: ``inspect.signature`` looks here too."""
        if self._has_own:
            return self._before
        return getattr(type(self._owner), self._name).__get__(self._owner)

    def remove(self) -> None:
        """Give the method back; where somebody has wrapped it since, hand every call on."""
        own = vars(self._owner)
        if own.get(self._name) is self:
            if self._has_own:
                own[self._name] = self._before
            else:
                del own[self._name]
        self._around = None


class PassingShadow(Shadow):
    """One that stays behind: a copy of its owner gets its method back."""

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_around": None}
