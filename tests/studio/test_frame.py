"""The fixtures themselves: a real page on a real server in a real browser."""


def test_a_page_in_the_browser(browser_page):
    browser_page.goto("/")
    assert browser_page.locator("header nav a").count() >= 8


def test_a_picture_in_the_browser(browser_page, parts):
    key = parts.index.query(f"SELECT image_key FROM {parts.index.table('colours')} LIMIT 1")
    browser_page.goto("/")
    width = browser_page.evaluate(
        """async (path) => {
          const image = new Image(); image.src = path; await image.decode();
          return image.naturalWidth;
        }""",
        f"/thumbs/96/colours/{key[0]['image_key']}.webp",
    )
    assert width == 16
