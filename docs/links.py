"""What is wrong with the built pages: links that lead nowhere, pictures without a text, a picture shown twice on a page.

Sphinx checks the references that it makes; this looks at what a reader gets, raw HTML included. Nothing asks the network.
"""

import pathlib
from html.parser import HTMLParser
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """Where a page leads to, where one can lead on it, and what it shows."""

    def __init__(self, text):
        super().__init__()
        self.links, self.anchors, self.pictures = [], {""}, []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.anchors |= {attributes[key] for key in ("id", "name") if attributes.get(key)}
        self.links += [attributes[key] for key in ("href", "src") if attributes.get(key)]
        if tag == "img":
            self.pictures.append((attributes.get("src", ""), attributes.get("alt")))


def wrong(folder):
    """Yield a sentence for each thing that is wrong with the pages of a folder."""
    folder = pathlib.Path(folder).resolve()
    pages = {path: Page(path.read_text("utf-8")) for path in sorted(folder.rglob("*.html"))}
    for path, page in pages.items():
        name = path.relative_to(folder)
        for link in page.links:
            address = urlsplit(link)
            if address.scheme or address.netloc:
                continue
            target = (path.parent / unquote(address.path)).resolve() if address.path else path
            if target.is_dir():
                target /= "index.html"
            if not target.exists():
                yield f"{name}: {link!r} leads nowhere"
            elif target in pages and unquote(address.fragment) not in pages[target].anchors:
                yield f"{name}: {link!r} names no place on that page"
        seen = set()
        for picture, text in page.pictures:
            if text is None:  # alt="" says that it only adorns
                yield f"{name}: the picture {picture!r} has no text for who can't see it"
            if picture in seen:
                yield f"{name}: the picture {picture!r} is shown twice"
            seen.add(picture)


def check(app):
    """Warn of all that is wrong; `make docs` makes an error of a warning."""
    from sphinx.util import logging

    for sentence in wrong(app.outdir):
        logging.getLogger(__name__).warning(sentence)
