"""The boards and adapters of a lab as they enumerate: the kinds whose identity goes wrong in their own way each."""

from __future__ import annotations

from typing import Final

from usb_tree import Interface, Uart, UsbDevice

_VENDOR: Final = (0xFF, 0xFF, 0xFF)
_CDC_CONTROL: Final = (0x02, 0x02, 0x01)
_CDC_DATA: Final = (0x0A, 0x00, 0x00)

CP2102: Final = UsbDevice(
    0x10C4,
    0xEA60,
    (Interface((0xFF, 0, 0), "cp210x", ("ttyUSB0",)),),
    manufacturer="Silicon Labs",
    product_name="CP2102 USB to UART Bridge Controller",
    serial="0001",
    port="1",
    devnum=3,
)
"""The serial number that every one of them has."""

FT232R: Final = UsbDevice(
    0x0403,
    0x6001,
    (Interface(_VENDOR, "ftdi_sio", ("ttyUSB1",)),),
    manufacturer="FTDI",
    product_name="FT232R USB UART",
    serial="A5069RR4",
    port="2",
    devnum=4,
)

CH340: Final = UsbDevice(
    0x1A86,
    0x7523,
    (Interface((0xFF, 1, 2), "ch341", ("ttyUSB2",)),),
    product_name="USB Serial",
    port="3",
    devnum=5,
)
"""No serial number at all."""
OTHER_CH340: Final = CH340.moved(port="4.1", devnum=7, ttys=["ttyUSB3"])
"""Equal in everything but the port."""

FT4232: Final = UsbDevice(
    0x0403,
    0x6011,
    tuple(Interface(_VENDOR, "ftdi_sio", (tty,)) for tty in ("ttyUSB4", "ttyUSB5", "ttyUSB6", "ttyUSB7")),
    manufacturer="FTDI",
    product_name="Quad RS232-HS",
    serial="FT4UVS0X",
    port="4.2",
    devnum=8,
)
"""Four ports, an interface each."""

MOS7840: Final = UsbDevice(
    0x9710,
    0x7840,
    (Interface((0xFF, 0, 0xFF), "mos7840", ("ttyUSB8", "ttyUSB9", "ttyUSB10", "ttyUSB11")),),
    manufacturer="Moschip Semiconductor",
    product_name="Moschip USB-Serial Controller",
    port="4.3",
    devnum=9,
)
"""Four ports on one interface and no serial number: path and interface are the same for all."""

ESP32_S3: Final = UsbDevice(
    0x303A,
    0x1001,
    (Interface(_CDC_CONTROL, "cdc_acm", ("ttyACM0",)), Interface(_CDC_DATA, "cdc_acm"), Interface((0xFF, 0xFF, 0x01))),
    manufacturer="Espressif",
    product_name="USB JTAG/serial debug unit",
    serial="F4:12:FA:E3:1B:08",
    port="5",
    devnum=10,
)
"""Native USB; its serial number is its MAC address, colons and all."""

PICO: Final = UsbDevice(
    0x2E8A,
    0x000A,
    (Interface(_CDC_CONTROL, "cdc_acm", ("ttyACM1",)), Interface(_CDC_DATA, "cdc_acm"), Interface((0xFF, 0x00, 0x01))),
    manufacturer="Raspberry Pi",
    product_name="Pico",
    serial="E6605481DB484636",
    port="6",
    devnum=11,
)

BULK: Final = UsbDevice(
    0x1209,
    0x5701,
    (Interface((0xFF, 0x57, 0x01)),),
    manufacturer="A maker",
    product_name="wirelet board",
    serial="W0007",
    port="7",
    devnum=12,
)
"""The interface of SPEC.md 10.2, with ids that no table knows."""

MODEM: Final = UsbDevice(
    0x12D1,
    0x1001,
    (Interface(_VENDOR, "option", ("ttyUSB12",)),),
    manufacturer="HUAWEI",
    product_name="HUAWEI Mobile",
    port="8",
    devnum=13,
)
"""Not ours: ModemManager must have it."""

UART: Final = Uart()
"""The PL011 of a Raspberry Pi 4."""
MINI_UART: Final = Uart(tty="ttyS0", address="fe215040", bus="platform", driver="bcm2835-aux-uart")

USB_DEVICES: Final = (CP2102, FT232R, CH340, OTHER_CH340, FT4232, MOS7840, ESP32_S3, PICO, BULK, MODEM)
