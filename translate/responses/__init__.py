"""OpenAI's Responses API, the second dialect beside Chat Completions, over the same Turn.

The glossary, OpenAI's word first:

====================================  =====================================================
``input`` (items)                     ``messages``; neighbouring items of one side are one message
``instructions``                      ``system``, before what leads the input as system or developer
``reasoning`` item                    ``thinking`` and ``redacted_thinking`` blocks, sealed in ``encrypted_content``
``function_call``                     ``tool_use``
``function_call_output``              ``tool_result``
``max_output_tokens``                 ``max_tokens``
``text.format``                       ``output_config.format``
``status``, ``incomplete_details``    ``stop_reason``
====================================  =====================================================

The way of a request: :mod:`~translate.responses.parameters` decides what each field's fate is,
:mod:`~translate.responses.input_items` and :mod:`~translate.responses.tools` read its two large parts,
:mod:`~translate.responses.request` makes the Turn. The way back: :mod:`~translate.responses.stream` turns Claude's
events into those of a response, :mod:`~translate.responses.fold` makes the one body of them. Both are written in the
Structs of :mod:`~translate.responses.wire`.
"""
