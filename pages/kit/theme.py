"""The look: theme, style sheet, and the script in the page's head. No font, script or picture comes from elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr
from fastapi import Depends

from core.settings import Settings
from pages.kit.queue import refuse_others_pages

KIT = Path(__file__).parent
FRAME = KIT / "frame.css"  # into the head as it is

# A model's answer can hold any Markdown. With this no browser asks a foreign host for anything, whatever slips through.
POLICY = (
    "default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'; object-src 'none'; base-uri 'self'; "
    "form-action 'self'; frame-src 'self' blob:"
)


def theme() -> gr.themes.Base:
    """Indigo for what can be done, slate for everything else; the fonts of the reader's own system."""
    return gr.themes.Base(
        primary_hue="indigo",
        secondary_hue="slate",
        neutral_hue="slate",
        radius_size="md",
        font=["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"],
        font_mono=["ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace"],
    ).set(
        body_background_fill="white",
        body_background_fill_dark="*neutral_950",
        background_fill_secondary="*neutral_50",
        background_fill_secondary_dark="*neutral_900",
        block_background_fill="transparent",
        block_background_fill_dark="transparent",
        block_border_width="0px",
        block_shadow="none",
        block_shadow_dark="none",
        block_label_text_color="*neutral_600",
        block_label_text_color_dark="*neutral_300",
        block_title_text_color="*neutral_700",
        block_title_text_color_dark="*neutral_200",
        block_title_text_size="*text_sm",
        block_title_text_weight="500",
        block_info_text_color="*neutral_600",
        block_info_text_color_dark="*neutral_400",
        body_text_color="*neutral_800",
        body_text_color_dark="*neutral_100",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_400",
        border_color_primary="*neutral_200",
        border_color_primary_dark="*neutral_800",
        input_background_fill="white",
        input_background_fill_dark="*neutral_900",
        input_border_color="*neutral_300",
        input_border_color_dark="*neutral_700",
        input_border_width="1px",
        input_placeholder_color="*neutral_500",
        input_placeholder_color_dark="*neutral_400",
        button_secondary_background_fill="white",
        button_secondary_background_fill_dark="*neutral_900",
        button_secondary_background_fill_hover="*neutral_100",
        button_secondary_background_fill_hover_dark="*neutral_800",
        button_secondary_border_color="*neutral_300",
        button_secondary_border_color_dark="*neutral_700",
        button_secondary_text_color="*neutral_800",
        button_secondary_text_color_dark="*neutral_100",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_dark="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_background_fill_hover_dark="*primary_500",
        button_primary_text_color="white",
        button_primary_text_color_dark="white",
        button_border_width="1px",
        button_large_text_weight="500",
        button_medium_text_weight="500",
        button_small_text_weight="500",
        color_accent="*primary_600",
        color_accent_soft="*primary_50",
        color_accent_soft_dark="*neutral_800",
        link_text_color="*primary_700",
        link_text_color_dark="*primary_300",
    )


def assets(ending: str) -> list[Path]:
    """The style sheets or scripts of the kit, then those of each tab, from the outer folders to the inner ones."""
    found = KIT.parent.rglob(f"*{ending}")
    return sorted(found, key=lambda path: (path.parent != KIT, len(path.parts), path))


def head() -> str:
    """What goes into the page's <head>."""
    scripts = "\n".join(path.read_text("utf-8") for path in assets(".js"))
    style = FRAME.read_text("utf-8")
    return (
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="referrer" content="no-referrer">\n'
        f"<style>\n{style}</style>\n<script>\n{scripts}</script>"
    )


def mount_options(settings: Settings) -> dict[str, Any]:
    """What `gradio.mount_gradio_app` is to be told."""
    return {
        "theme": theme(),
        # Gradio puts its own container's name before every rule of these.
        "css": "\n".join(path.read_text("utf-8") for path in assets(".css") if path != FRAME),
        "head": head(),
        "footer_links": [],
        "run_history": False,
        "show_error": False,
        "enable_monitoring": False,
        "pwa": False,
        "ssr_mode": False,
        "mcp_server": False,
        "app_kwargs": {"dependencies": [Depends(refuse_others_pages)]},
        "allowed_paths": [],
        "max_file_size": f"{settings['PARLEY_MAX_UPLOAD_MB']}mb",
    }
