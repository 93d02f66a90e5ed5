"""Starting a program so that its OpenAI traffic goes through the proxy: its environment, its trusted CAs, its process.

The words used here:

- *wrapped program*: the COMMAND in ``understudy run -- COMMAND``.
- *bundle*: a PEM file of CA certificates that replaces a program's trust store. It contains everything that the program
  trusted before, and Understudy's certificate.
- *extra*: a PEM file of CA certificates that a program trusts in addition to its own.
- *Java store*: the bundle's certificates in the only format that a JVM reads.
- *shim*: ``node_proxy.cjs``, a script for versions of Node that ignore the proxy variables. Node loads it first.
- *base-URL door*: an HTTP address of the proxy, for programs that use it as their ``OPENAI_BASE_URL``.

``trust`` writes the files, ``environment`` computes the variables, ``child`` runs the program.
"""
