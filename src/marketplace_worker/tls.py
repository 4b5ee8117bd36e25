"""TLS contexts for connections, and messages for failed handshakes."""

import ssl
from dataclasses import dataclass
from pathlib import Path

from marketplace_worker.errors import Misconfigured

_REASONS = {
    9: "its certificate is not valid yet",
    10: "its certificate has expired",
    18: "its certificate is self-signed and not in {ca}",
    19: "its certificate was issued by an authority that is not in {ca}",
    20: "its certificate was issued by an authority that is not in {ca}",
    21: "its certificate was issued by an authority that is not in {ca}",
    62: "its certificate is for another host name: set {host} to a name in the certificate",
    64: "its certificate is for another address: set {host} to a name in the certificate",
}
"""Messages by OpenSSL's verification error (X509_V_ERR_…)."""


@dataclass(frozen=True, slots=True)
class Names:
    """Names of a server's settings, for messages.

    Args:
        ca: the file of trusted CAs.
        certificate: the file of our certificate.
        host: the server's name.
    """

    ca: str
    certificate: str
    host: str


def client_context(
    names: Names, *, ca: Path | None, certificate: Path | None, key: Path | None
) -> ssl.SSLContext:
    """A context that verifies the server; the files are read now.

    Args:
        names: the names of the settings.
        ca: trusted CAs; None for the system's.
        certificate: our certificate, if the server requires one.
        key: the key of that certificate, not encrypted.

    Raises:
        Misconfigured: one of the files cannot be used.
    """
    try:
        context = ssl.create_default_context(cafile=ca)
    except (OSError, ssl.SSLError) as error:
        raise Misconfigured(f"{names.ca}: {error}") from error
    if certificate is not None:
        try:
            # With an empty password, an encrypted key fails instead of asking the terminal.
            context.load_cert_chain(certificate, key, password="")
        except (OSError, ssl.SSLError) as error:
            raise Misconfigured(f"{names.certificate}, and its key: {error}") from error
    return context


def refusal_of(error: BaseException, names: Names) -> str:
    """Why certificate verification failed, as a message; empty if the error is another one."""
    while error.__cause__ is not None and not isinstance(error, ssl.SSLError):
        error = error.__cause__
    match error:
        case ssl.SSLCertVerificationError():
            reason = _REASONS.get(error.verify_code, f"its certificate: {error.verify_message}")
            return reason.format(ca=names.ca, host=names.host)
        case ssl.SSLError(reason=str(reason)) if "ALERT" in reason:
            alert = reason.rpartition("ALERT_")[2].replace("_", " ").lower()
            return f"it does not accept our certificate, {names.certificate} ({alert})"
        case _:
            return ""
