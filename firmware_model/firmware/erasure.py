"""The steps of an erase, as the part for erasing puts them in order."""

from firmware_model.firmware.keystore import KeyStore
from firmware_model.firmware.translation import Translation
from firmware_model.hardware.secure_element import SecureElement
from firmware_model.wire.attempt_log import Event


class Erasure:
    """One erase (parts.EraseSteps), whose log record stands in flash already."""

    def __init__(
        self,
        element: SecureElement,
        store: KeyStore,
        translation: Translation,
        event: Event,
        head: bytes,
    ) -> None:
        self._element = element
        self._store = store
        self._translation = translation
        self._event = event
        self._head = head

    def destroy_secrets(self) -> bool:
        """Destroy every slot secret in the element: from here on, the data is noise."""
        self._element.destroy_all(self._event, self._head)
        return not any(slot.is_set for slot in self._element.state.slots)

    def wipe_records(self) -> None:
        """Erase the wrapped keys."""
        self._store.wipe(self._element.state.epoch)

    def discard_data(self) -> None:
        """Forget where the data was."""
        self._translation.discard(self._element.state.epoch)
