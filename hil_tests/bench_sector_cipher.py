"""How close the sector cipher comes to OpenSSL: `python -m hil_tests.bench_sector_cipher`.

The measure is one OpenSSL call that takes 128 KiB as a single data unit. No drive can use that, as
its data unit is a sector, but it is the most the processor gives. Both are timed in turn.
"""

from collections.abc import Callable
from statistics import median
from time import perf_counter_ns

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import XTS

from firmware_model.firmware.sector_cipher import XtsSectors

BUFFER_BYTES = 128 * 1024
REPETITIONS = 2000
MEK = bytes(range(64))


def medians_us(calls: tuple[Callable[[], object], ...], repetitions: int) -> tuple[float, ...]:
    """Return the median duration of each call in microseconds, the calls taken in turn."""
    durations: tuple[list[int], ...] = tuple([] for _ in calls)
    for _ in range(repetitions):
        for call, taken in zip(calls, durations, strict=True):
            begun = perf_counter_ns()
            call()
            taken.append(perf_counter_ns() - begun)
    return tuple(median(taken) / 1000 for taken in durations)


def ratios(repetitions: int = REPETITIONS) -> tuple[float, float]:
    """Return the speed of encrypt and of decrypt, each as a part of OpenSSL's (1.0 is equal)."""
    data = bytes(range(256)) * (BUFFER_BYTES // 256)
    cipher, openssl, lba = XtsSectors(MEK), Cipher(AES(MEK), XTS(bytes(16))), 2048
    times_us = medians_us(
        (
            lambda: openssl.encryptor().update(data),
            lambda: cipher.encrypt(lba, data),
            lambda: openssl.decryptor().update(data),
            lambda: cipher.decrypt(lba, data),
        ),
        repetitions,
    )
    return times_us[0] / times_us[1], times_us[2] / times_us[3]


def main() -> None:
    encrypt, decrypt = ratios()
    print(f"encrypt {encrypt:.3f} of OpenSSL XTS over {BUFFER_BYTES // 1024} KiB")
    print(f"decrypt {decrypt:.3f} of OpenSSL XTS over {BUFFER_BYTES // 1024} KiB")


if __name__ == "__main__":
    main()
