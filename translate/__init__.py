"""Translation between OpenAI's APIs and Claude's: pure functions and state machines.

Nothing here does I/O, reads a clock or draws a random number. Ids and times are arguments. A test checks this.

Glossary: OpenAI's word, then Claude's.

====================================  =====================================================
``messages`` (system, developer)      ``system``, if they begin the conversation
``messages`` (user, assistant)        ``messages``, each with content blocks
``finish_reason``                     ``stop_reason`` (:mod:`translate.chat.finish_reason`)
``stop``                              ``stop_sequences``
``max_completion_tokens``             ``max_tokens``
``prompt_tokens``                     ``input_tokens`` + cache reads + cache writes
``completion_tokens``                 ``output_tokens``
``chunk``                             stream event (:mod:`translate.chat.stream`)
====================================  =====================================================

A request: :mod:`~translate.chat.parameters` decides what happens to each field, and :mod:`~translate.chat.request`
makes a :class:`~translate.turn.Turn` of it. The answer: :mod:`~translate.chat.stream` makes chunks of Claude's events,
and :mod:`~translate.chat.completion` makes one body of the chunks.
"""
