"""The fleet: several packs train one study, on the devices and processes of one machine or on the
machines of a cluster, behind the one `Worker` interface.
"""
