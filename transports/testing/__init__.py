"""What a package with a link of its own tests itself with: the same cases that Wirelet's links are held to.

    from transports.testing.link_contract import LinkContract     # pip install 'wirelet[testing]'

Importing this package alone needs nothing that a gateway does not have.
"""

from __future__ import annotations

import sys

if "pytest" in sys.modules:  # then a failed assert shows its values, as in a test module
    sys.modules["pytest"].register_assert_rewrite("transports.testing.link_contract")
