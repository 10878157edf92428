"""What keeps the ports of a configuration from working: pure findings, and the shells that read this machine for them.

`wirelet doctor` and `wirelet udev check` print them, the gateway puts them on its Node. Nothing here changes the machine or knows either.
"""
