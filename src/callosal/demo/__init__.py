"""A page in the browser that shows a memory at work: `callosal demo`. Needs the extra ``demo``.

``app`` puts two tabs on it: ``chat_tab`` shows what happens in ``talk``, ``cipher_tab`` what happens in ``cipher``, and
``views`` makes the HTML of both.
"""
