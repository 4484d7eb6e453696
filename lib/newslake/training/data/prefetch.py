"""Takes items from an iterator in a background thread, a bounded number ahead of its consumer."""

import queue
import threading
from collections.abc import Iterator
from types import TracebackType
from typing import Generic, Self, TypeVar

Item = TypeVar("Item")


class Prefetched(Generic[Item]):
    """Iterates over `items`, which a thread reads ahead. An error in there is raised here, at the place where
    it came.

    Use as a context manager: leaving it stops the thread, closes the iterator and waits for both.
    """

    def __init__(self, items: Iterator[Item], *, ahead: int) -> None:
        self._items = items
        self._queue: queue.Queue[Item | _End] = queue.Queue(maxsize=ahead)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._read, name="prefetch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._thread.join()

    def __iter__(self) -> Iterator[Item]:
        while True:
            item = self._queue.get()
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            yield item

    def _read(self) -> None:
        error = None
        try:
            for item in self._items:
                if not self._put(item):
                    break
        except BaseException as caught:
            error = caught
        finally:
            # Here, since the thread that runs a generator must be the one to close it.
            close = getattr(self._items, "close", None)
            if close is not None:
                close()
        self._put(_End(error))

    def _put(self, item: "Item | _End") -> bool:
        """Wait for room; False where the consumer has left."""
        while not self._stopped.is_set():
            try:
                self._queue.put(item, timeout=0.05)
                return True
            except queue.Full:
                continue
        return False


class _End:
    def __init__(self, error: BaseException | None) -> None:
        self.error = error
