"""What surrounds a program that runs behind the proxy: its environment, its trust, its life.

The words used here:

- *wrapped program*: the person's COMMAND in ``understudy run -- COMMAND``.
- *bundle*: a PEM file that replaces a program's trust store, so it must hold everything that was trusted before.
- *extra*: a PEM file that adds to a program's trust store.
- *Java store*: the same certificates in the one form that a JVM reads.
- *shim*: ``node_proxy.cjs``, preloaded by versions of Node that know no proxy variables.
- *base-URL door*: the proxy's plain HTTP address, for programs that no environment reaches.

``trust`` writes the files, ``environment`` decides the variables, ``child`` runs the program.
"""
