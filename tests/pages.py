"""What a page of the dashboard says, without its tags."""

from html.parser import HTMLParser


class Words(HTMLParser):
    def __init__(self, html):
        super().__init__()
        self.text = ""
        self.feed(html)

    def handle_data(self, data):
        self.text += data
