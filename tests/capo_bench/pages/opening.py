"""A page in a real browser, with all that it asked for and complained of."""

from __future__ import annotations


class Opened:
    """A page; when it is closed, it must have asked for nothing but itself, and have complained of nothing."""

    def __init__(self, browser, address: str, **options) -> None:
        self._context = browser.new_context(**options)
        self.page = self._context.new_page()
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(address)
        self._address = address

    def told(self) -> str:
        return self.page.locator("#tip").text_content()

    def press(self, *keys: str) -> Opened:
        for key in keys:
            self.page.keyboard.press(key)
        return self

    def focused(self, what: str):
        return self.page.evaluate(f"document.activeElement.{what}")

    def close(self) -> None:
        self._context.close()
        assert {url.partition("#")[0] for url in self.requests if not url.startswith("blob:")} == {self._address}
        assert self.complaints == []
