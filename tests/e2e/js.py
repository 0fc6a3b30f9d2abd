"""Node 22 and JavaScript packages for the tests, from npm, as they come; all below build/clients."""
import json
import os
import shutil
import subprocess

from common import ROOT

FOLDER = ROOT / "build" / "clients" / "js"
NODE = FOLDER / "node_modules" / ".bin" / "node"


def install(packages):
    """Returns None, or why they cannot be had. Debian's own Node is too old for the clients, so Node is a package too."""
    there = [p.rsplit("@", 1)[0] if p.rfind("@") > 0 else p for p in ["node@22", *packages]]
    if all((FOLDER / "node_modules" / p).is_dir() for p in there) and NODE.exists():
        return None
    npm = shutil.which("npm")
    if not npm:
        return "there is no npm"
    FOLDER.mkdir(parents=True, exist_ok=True)
    if not (FOLDER / "package.json").exists():
        (FOLDER / "package.json").write_text(json.dumps({"private": True, "type": "module"}))
    done = subprocess.run([npm, "install", "--no-audit", "--no-fund", "--prefix", str(FOLDER), "node@22", *packages],
                          cwd=FOLDER, capture_output=True, text=True, timeout=600)
    if done.returncode != 0:
        return f"npm cannot install {', '.join(packages)}: {done.stderr.strip().splitlines()[-1:]}"
    return None


def environment_of(home, **variables):
    """Without the user's settings; the new Node goes first."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("OPENAI_", "ANTHROPIC_", "MINKE", "CLAUDE", "CODEX"))}
    env.update(PATH=f"{NODE.parent}:{env.get('PATH', '')}", HOME=str(home), NO_PROXY="127.0.0.1,localhost",
               no_proxy="127.0.0.1,localhost", **variables)
    return env
