"""A connection to a TPM 2.0: its sessions, and the commands on NV indices that all else is made of.

Commands are those of the TPM 2.0 Library specification, part 3. Importing this module takes the
extra sedlab[tpm].
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from typing import Any, Final

# The library says on stderr what it also returns; unless somebody asks for it, once is enough.
os.environ.setdefault("TSS2_LOG", "all+none")

import tpm2_pytss as tss
from tpm2_pytss._libtpm2_pytss import lib

from firmware_model.hardware.secure_element import ElementError

_AES: Final = tss.TPMT_SYM_DEF(
    algorithm=tss.TPM2_ALG.AES,
    keyBits=tss.TPMU_SYM_KEY_BITS(aes=128),
    mode=tss.TPMU_SYM_MODE(aes=tss.TPM2_ALG.CFB),
)
_ENCRYPTED: Final = (
    tss.TPMA_SESSION.CONTINUESESSION | tss.TPMA_SESSION.DECRYPT | tss.TPMA_SESSION.ENCRYPT
)
_FIXED: Final = tss.TPMA_OBJECT.FIXEDTPM | tss.TPMA_OBJECT.FIXEDPARENT | tss.TPMA_OBJECT.NODA
_DRAWN: Final = _FIXED | tss.TPMA_OBJECT.SENSITIVEDATAORIGIN | tss.TPMA_OBJECT.USERWITHAUTH
STORAGE: Final = _DRAWN | tss.TPMA_OBJECT.RESTRICTED | tss.TPMA_OBJECT.DECRYPT
SIGNING: Final = _DRAWN | tss.TPMA_OBJECT.SIGN_ENCRYPT
# Neither an authValue nor a policy lets anybody sign; checking a signature takes neither.
VERIFYING: Final = _FIXED | tss.TPMA_OBJECT.SIGN_ENCRYPT


class TpmRefusal(ElementError):
    """A command was refused; `code` is the TPM's, without the number of a handle or parameter."""

    def __init__(self, command: str, refusal: Any) -> None:
        super().__init__(f"the TPM refused {command}: {refusal}")
        self.code = int(refusal.error if refusal.fmt1 else refusal.rc)


class Commands:
    """The library's commands by their names, with refusals that are ElementErrors."""

    def __init__(self, context: Any) -> None:
        self._context = context

    def __getattr__(self, name: str) -> Callable[..., Any]:
        command = getattr(self._context, name)

        def call(*arguments: Any, **named: Any) -> Any:
            try:
                return command(*arguments, **named)
            except tss.TSS2_Exception as refusal:
                raise TpmRefusal(name, refusal) from None

        return call

    def set_lockout_policy(self, digest: bytes, session1: Any, session2: Any) -> None:
        """TPM2_SetPrimaryPolicy, which tpm2-pytss lets name every hierarchy but this one."""
        policy = tss.TPM2B_DIGEST(digest)
        code = lib.Esys_SetPrimaryPolicy(
            self._context._ctx,
            tss.ESYS_TR.LOCKOUT,
            session1,
            session2,
            tss.ESYS_TR.NONE,
            policy._cdata,
            tss.TPM2_ALG.SHA256,
        )
        if code:
            raise TpmRefusal("set_primary_policy", tss.TSS2_Exception(code))


class TpmConnection:
    """An open connection. What goes over it in either direction is encrypted for the TPM alone."""

    def __init__(self, tcti: str) -> None:
        """Connect; raise ElementError where no TPM answers."""
        try:
            context = tss.ESAPI(tcti)
        except (tss.TSS2_Exception, RuntimeError) as refusal:
            raise ElementError(f"no TPM answers at {tcti}: {refusal}") from None
        self.commands = Commands(context)
        self._handles: dict[int, Any] = {}
        if self.number("PERMANENT") & int(tss.TPMA_PERMANENT.OWNERAUTHSET):
            context.close()
            raise ElementError("the TPM belongs to somebody: its owner has set a password")
        self._flush_leftovers()
        self.storage_key = self._primary("ecc256:aes128cfb", STORAGE)
        self._mac_key = self._primary("hmac:sha256", SIGNING)
        self._session = self._start(tss.TPM2_SE.HMAC, self.storage_key)

    def close(self) -> None:
        """Leave nothing of this connection in the TPM, if it still answers."""
        with suppress(ElementError):
            for handle in (self._session, self._mac_key, self.storage_key):
                self.commands.flush_context(handle)
        self.commands.close()

    def number(self, name: str) -> int:
        """Return a property of the TPM, by the name that TPM_PT has for it."""
        wanted = int(getattr(tss.TPM2_PT, name))
        _, found = self.commands.get_capability(tss.TPM2_CAP.TPM_PROPERTIES, wanted, 1)
        first = found.data.tpmProperties[0]
        if int(first.property) != wanted:
            raise ElementError(f"the TPM tells nothing of {name}")
        return int(first.value)

    def random(self, count: int) -> bytes:
        """Return bytes of the TPM's own random number generator."""
        return bytes(self.commands.get_random(count, session1=self.session))

    def mac(self, data: bytes) -> bytes:
        """Return HMAC-SHA-256 of the digest of `data`, by a key that never leaves the TPM."""
        digest, algorithm = sha256(data).digest(), tss.TPM2_ALG.SHA256
        return bytes(self.commands.hmac(self._mac_key, digest, algorithm, session1=self.session))

    # --- sessions ---------------------------------------------------------------------------------

    @property
    def session(self) -> Any:
        """The session that encrypts what goes over the connection, and authorizes as the owner."""
        # The library forgets an attribute when a command that has no use for it is refused.
        self.commands.trsess_set_attributes(self._session, _ENCRYPTED)
        return self._session

    def start_policy(self, salt_key: Any = tss.ESYS_TR.NONE) -> Any:
        """Start a policy session; it takes a salt if it is to prove knowledge of an authValue.

        Without one, whoever listens could try authValues against what crossed the bus. It never
        encrypts, since its key would depend on the authValue of what it authorizes: `session` does.
        """
        return self._start(tss.TPM2_SE.POLICY, salt_key)

    @contextmanager
    def policy(self, salt_key: Any = tss.ESYS_TR.NONE) -> Iterator[Any]:
        """Give a policy session, for one command."""
        session = self.start_policy(salt_key)
        try:
            yield session
        finally:
            self.commands.flush_context(session)

    # --- NV indices and persistent objects --------------------------------------------------------

    def held(self, first: int, end: int) -> set[int]:
        """Return which handles from `first` to before `end` the TPM holds."""
        return {handle for handle in self._listed(first, end - first) if handle < end}

    def at(self, handle: int) -> Any:
        """Return what the library calls the entity with that handle."""
        if handle not in self._handles:
            self._handles[handle] = self.commands.tr_from_tpmpublic(handle)
        return self._handles[handle]

    def define(
        self, handle: int, size: int, attributes: Any, auth: bytes = b"", policy: bytes = b""
    ) -> None:
        """Make an NV index."""
        public = tss.TPM2B_NV_PUBLIC(
            tss.TPMS_NV_PUBLIC(
                nvIndex=handle,
                nameAlg=tss.TPM2_ALG.SHA256,
                attributes=attributes,
                authPolicy=policy,
                dataSize=size,
            )
        )
        self._handles[handle] = self.commands.nv_define_space(auth, public, session1=self.session)

    def undefine(self, handle: int) -> None:
        """Destroy an NV index with what it holds."""
        self.commands.nv_undefine_space(self.at(handle), session1=self.session)
        del self._handles[handle]

    def write(self, handle: int, data: bytes) -> None:
        """Write an NV index by the owner's right."""
        owner = tss.ESYS_TR.OWNER
        self.commands.nv_write(self.at(handle), data, 0, owner, session1=self.session)

    def read(self, handle: int, size: int) -> bytes:
        """Read an NV index that anybody may read."""
        index = self.at(handle)
        return bytes(self.commands.nv_read(index, size, 0, index, session1=self.session))

    def persist(self, handle: int, secret: bytes, attributes: Any) -> None:
        """Make a persistent HMAC key of a secret."""
        sensitive = tss.TPM2B_SENSITIVE_CREATE(tss.TPMS_SENSITIVE_CREATE(data=secret))
        template = tss.TPM2B_PUBLIC.parse("hmac:sha256", objectAttributes=attributes)
        private, public, *_ = self.commands.create(
            self.storage_key, sensitive, template, session1=self.session
        )
        loaded = self.commands.load(self.storage_key, private, public, session1=self.session)
        self._handles[handle] = self.commands.evict_control(
            tss.ESYS_TR.OWNER, loaded, handle, session1=self.session
        )
        self.commands.flush_context(loaded)

    def evict(self, handle: int) -> None:
        """Destroy a persistent object."""
        owner = tss.ESYS_TR.OWNER
        self.commands.evict_control(owner, self.at(handle), handle, session1=self.session)
        del self._handles[handle]

    # --- inside -----------------------------------------------------------------------------------

    def _start(self, kind: Any, salt_key: Any) -> Any:
        return self.commands.start_auth_session(
            tpm_key=salt_key,
            bind=tss.ESYS_TR.NONE,
            session_type=kind,
            symmetric=_AES,
            auth_hash=tss.TPM2_ALG.SHA256,
        )

    def _primary(self, template: str, attributes: Any) -> Any:
        public = tss.TPM2B_PUBLIC.parse(template, objectAttributes=attributes)
        key, *_ = self.commands.create_primary(tss.TPM2B_SENSITIVE_CREATE(), public)
        return key

    def _flush_leftovers(self) -> None:
        """Take away what a process that was killed left in the TPM's memory."""
        # The first handle of a session stands for all loaded ones, of a policy for all saved ones.
        for first in (tss.TPM2_HR.TRANSIENT, tss.TPM2_HR.HMAC_SESSION, tss.TPM2_HR.POLICY_SESSION):
            for handle in self._listed(int(first), 64):
                self.commands.flush_context(self.commands.tr_from_tpmpublic(handle))

    def _listed(self, first: int, count: int) -> list[int]:
        """Return up to `count` handles in use, from `first` on in its own order."""
        _, found = self.commands.get_capability(tss.TPM2_CAP.HANDLES, first, count)
        handles = found.data.handles
        return [int(handles[i]) for i in range(len(handles))]
