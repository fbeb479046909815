"""Just enough OpenPGP (RFC 4880, RSA, version 4 packets) to clear-sign a test archive's InRelease without gpg."""

from __future__ import annotations

import base64
import hashlib
import random
from dataclasses import dataclass
from functools import cache

_SHA256_INFO = bytes.fromhex("3031300d060960864801650304020105000420")
_CREATED = 1_700_000_000


def _is_prime(number: int, source: random.Random) -> bool:
    if any(number % small == 0 for small in (3, 5, 7, 11, 13, 17, 19, 23, 29, 31)):
        return False
    odd, twos = number - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    for _ in range(16):
        power = pow(source.randrange(2, number - 1), odd, number)
        if power in (1, number - 1):
            continue
        for _ in range(twos - 1):
            power = power * power % number
            if power == number - 1:
                break
        else:
            return False
    return True


def _prime(source: random.Random, bits: int) -> int:
    while True:
        number = source.getrandbits(bits) | 1 | 3 << (bits - 2)
        if _is_prime(number, source):
            return number


def _mpi(number: int) -> bytes:
    return number.bit_length().to_bytes(2, "big") + number.to_bytes((number.bit_length() + 7) // 8, "big")


def _packet(tag: int, body: bytes) -> bytes:
    return bytes([0xC0 | tag, 255]) + len(body).to_bytes(4, "big") + body


@dataclass(frozen=True, slots=True)
class Key:
    """An RSA key; ``ring`` is what gpgv takes as a keyring."""

    modulus: int
    secret: int

    @property
    def _public(self) -> bytes:
        return b"\x04" + _CREATED.to_bytes(4, "big") + b"\x01" + _mpi(self.modulus) + _mpi(65537)

    @property
    def _hashed_public(self) -> bytes:
        return b"\x99" + len(self._public).to_bytes(2, "big") + self._public

    @property
    def ring(self) -> bytes:
        user = b"Test Archive <archive@example.com>"
        certified = self._hashed_public + b"\xb4" + len(user).to_bytes(4, "big") + user
        certificate = self._signature(0x13, certified, extra=b"\x02\x1b\x03")  # key flags: may certify and sign
        return _packet(6, self._public) + _packet(13, user) + certificate

    @property
    def armoured_ring(self) -> bytes:
        body = base64.encodebytes(self.ring)
        return b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n" + body + b"=abcd\n-----END PGP PUBLIC KEY BLOCK-----\n"

    def _signature(self, kind: int, data: bytes, *, extra: bytes = b"") -> bytes:
        hashed = b"\x05\x02" + _CREATED.to_bytes(4, "big") + extra
        head = bytes([4, kind, 1, 8]) + len(hashed).to_bytes(2, "big") + hashed
        digest = hashlib.sha256(data + head + b"\x04\xff" + len(head).to_bytes(4, "big")).digest()
        size = (self.modulus.bit_length() + 7) // 8
        info = _SHA256_INFO + digest
        padded = b"\x00\x01" + b"\xff" * (size - len(info) - 3) + b"\x00" + info
        issuer = b"\x09\x10" + hashlib.sha1(self._hashed_public).digest()[-8:]
        signed = pow(int.from_bytes(padded, "big"), self.secret, self.modulus)
        return _packet(2, head + len(issuer).to_bytes(2, "big") + issuer + digest[:2] + _mpi(signed))

    def clear_sign(self, text: str) -> bytes:
        """The text inside an OpenPGP clear-signature frame."""
        canonical = "\r\n".join(line.rstrip() for line in text.rstrip("\n").split("\n"))
        body = base64.encodebytes(self._signature(1, canonical.encode())).decode()
        return (
            f"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n{text.rstrip()}\n"
            f"-----BEGIN PGP SIGNATURE-----\n\n{body}-----END PGP SIGNATURE-----\n"
        ).encode()


@cache
def make_key(seed: int) -> Key:
    """The same key for the same seed."""
    source = random.Random(seed)
    first, second = _prime(source, 512), _prime(source, 512)
    return Key(first * second, pow(65537, -1, (first - 1) * (second - 1)))
