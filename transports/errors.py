"""The error tree of transports: named for what happened to the resource, retryable or not.

TransportError
  LinkError           something about the byte pipe
    LinkNotFound        no such port, device or host
    LinkBusy            somebody else holds it
    LinkPermissionDenied
    LinkLost            it was there and is gone: unplugged, hung up, reset
    LinkTimeout
  ProtocolError       something about the bytes
    LocalProtocolError  we asked for what the protocol does not allow: a bug of the caller
    RemoteProtocolError the device sent what it must not
      NotUnderstood       a key of a later version that says so: drop the message
  DeviceError         the device answered "no"
  SessionLost         the session ended before the answer came; the outcome is unknown until the next LIST
"""

from __future__ import annotations

from typing import ClassVar


class TransportError(Exception):
    """Base of the tree; never raised itself."""

    retryable: ClassVar[bool] = True


class LinkError(TransportError):
    """The byte pipe to a device failed; the message names the port and what can be done."""


class LinkNotFound(LinkError):
    """There is no such port, USB device or host now."""


class LinkBusy(LinkError):
    """Another process holds the port."""


class LinkPermissionDenied(LinkError):
    """This user may not open the port."""


class LinkLost(LinkError):
    """The pipe was open and is gone: unplugged, hung up, reset by the far end."""


class LinkTimeout(LinkError):
    """The operating system did not answer within the deadline."""


class ProtocolError(TransportError):
    """Base for errors in the bytes; never raised itself."""


class LocalProtocolError(ProtocolError):
    """The caller asked for something the protocol does not allow, for example a START that is too big."""

    retryable: ClassVar[bool] = False


class RemoteProtocolError(ProtocolError):
    """The peer sent something the protocol does not allow."""


class NotUnderstood(RemoteProtocolError):
    """The peer sent something that must not be acted upon by who does not know it: a negative key."""


class DeviceError(TransportError):
    """The device answered a request with a code other than OK."""

    def __init__(self, code: int, text: str = "") -> None:
        super().__init__(f"device answered {code}: {text}" if text else f"device answered {code}")
        self.code = code
        self.text = text


class SessionLost(TransportError):
    """The session ended while a request was open. Whether it took effect is told by the next LIST."""
