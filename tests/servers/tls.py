"""TLS for the servers of the tests: certificates that are made on the spot, and a front that speaks TLS for a server that does not."""

from __future__ import annotations

import datetime
import select
import socket
import ssl
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.servers.front import HOST, Front

CHUNK = 1 << 16
HANDSHAKE = b"\x16"
"""What a client that speaks TLS sends first."""


class Certificates(NamedTuple):
    """Files in PEM form."""

    authority: Path
    """The certificate of the authority, for who is to trust it."""
    server: Path
    """The server's certificate, for this machine's loopback."""
    key: Path
    """The server's key."""
    both: Path
    """The server's key and certificate."""


def certificates(folder: Path) -> Certificates:
    """A new authority and a server's certificate from it, in an empty folder."""
    root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "turnlog tests")])
    root_id = x509.SubjectKeyIdentifier.from_public_key(root_key.public_key())
    usage = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only", "decipher_only"), False
    )
    root = _begun(root_name, root_name, root_key)
    root = root.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True).add_extension(root_id, critical=False)
    root = root.add_extension(x509.KeyUsage(digital_signature=False, key_cert_sign=True, crl_sign=True, **usage), critical=True)
    leaf = _begun(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")]), root_name, key)
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ip_address(HOST))])
    leaf = leaf.add_extension(names, critical=False)
    leaf = leaf.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    leaf = leaf.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    leaf = leaf.add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(root_id), critical=False)
    made = Certificates(*(folder / name for name in ("authority.pem", "server.pem", "server.key", "both.pem")))
    made.authority.write_bytes(root.sign(root_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    made.server.write_bytes(leaf.sign(root_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    made.key.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    made.both.write_bytes(made.key.read_bytes() + made.server.read_bytes())
    return made


def _begun(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now, day = datetime.datetime.now(datetime.UTC), datetime.timedelta(days=1)
    begun = x509.CertificateBuilder(subject_name=subject, issuer_name=issuer, public_key=key.public_key())
    return begun.serial_number(x509.random_serial_number()).not_valid_before(now - day).not_valid_after(now + day)


class TlsFront(Front):
    """Takes connections in TLS at ``port``, and passes on what they hold to the server that speaks plainly at ``target``."""

    def __init__(self, target: int, made: Certificates, *, plain: bool = False) -> None:
        """``plain``: also pass on the connections that do not speak TLS."""
        super().__init__(target)
        self._plain = plain
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(made.server, made.key)
        self.secured = 0
        """Connections that spoke TLS so far."""

    def take(self, client: socket.socket) -> None:
        """See Front.take."""
        self.start(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        try:
            with client, socket.create_connection((HOST, self._target)) as server:
                if self._plain and client.recv(1, socket.MSG_PEEK) != HANDSHAKE:
                    _pass_on(client, server)
                    return
                with self._context.wrap_socket(client, server_side=True, do_handshake_on_connect=False) as secured:
                    self._sockets.append(secured)
                    secured.do_handshake()
                    self.secured += 1
                    _pass_on(secured, server)
        except OSError:
            # It broke off, or would not shake hands: what the client makes of that is what is tested.
            return


def _pass_on(client: socket.socket, server: socket.socket) -> None:
    """What either end sends, to the other, until one has ended; in one thread, for a TLS socket is not for two."""
    while True:
        for end in select.select([client, server], [], [])[0]:
            data = end.recv(CHUNK)
            if not data:
                return
            (server if end is client else client).sendall(data)
