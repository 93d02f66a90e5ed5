"""Between OpenAI's words and Claude's: pure functions and state machines.

Nothing here does I/O, reads a clock or draws a random number; ids and times are handed in. A test holds that.

The glossary, OpenAI's word first:

====================================  =====================================================
``messages`` (system, developer)      ``system``, as far as they lead the conversation
``messages`` (user, assistant)        ``messages``, each with content blocks
``finish_reason``                     ``stop_reason`` (:mod:`translate.chat.finish_reason`)
``stop``                              ``stop_sequences``
``max_completion_tokens``             ``max_tokens``
``prompt_tokens``                     ``input_tokens`` + cache reads + cache writes
``completion_tokens``                 ``output_tokens``
``chunk``                             stream event (:mod:`translate.chat.stream`)
====================================  =====================================================

The way of a request: :mod:`~translate.chat.parameters` decides what each field's fate is,
:mod:`~translate.chat.request` makes a :class:`~translate.turn.Turn` of it; the way back:
:mod:`~translate.chat.stream` turns Claude's events into chunks, :mod:`~translate.chat.completion` folds chunks into one
body.
"""
