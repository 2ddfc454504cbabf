"""OHIF, the viewer that most hospitals try first, in a headless browser: the picture that it shows must be the picture that the node
renders, and its network log must hold no error.

The pages come from another origin than the images, as in a hospital: the node's cross-origin rules are what lets them in.
"""
import base64
import http.server
import io
import json
import os
import re
import shutil
import threading
import time
import urllib.request
from pathlib import Path

import numpy
import PIL.Image
import pydicom
import pytest

from conftest import Node
from test_dimse import run

PAGES = Path(__file__).parents[2] / "target/ohif/package/dist"
SHOTS = Path(__file__).parents[2] / "target/ohif/shots"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
# Without a graphics card the browser draws in software.
FLAGS = ["--no-sandbox", "--disable-dev-shm-usage", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"]

DRAWN = """() => {
  const views = (window.cornerstone?.getRenderingEngines?.() || []).flatMap(e => e.getViewports()).filter(v => v.element?.isConnected);
  return views.length > 0 && views.every(v => v.viewportStatus === 'rendered');
}"""
# The first viewport: which frame it shows, where three corners of the image are on its canvas, and the canvas.
SHOWN = """() => {
  const view = window.cornerstone.getRenderingEngines().flatMap(e => e.getViewports()).find(v => v.element?.isConnected);
  const id = view.getCurrentImageId(), plane = window.cornerstone.metaData.get('imagePixelModule', id);
  const at = ij => Array.from(view.worldToCanvas(window.cornerstone.utilities.imageToWorldCoords(id, ij))).map(x => x * devicePixelRatio);
  return {id, corners: [[0, 0], [plane.columns - 1, 0], [0, plane.rows - 1]].map(at), png: view.canvas.toDataURL('image/png')};
}"""


class Pages(http.server.SimpleHTTPRequestHandler):
    """The built pages, with the configuration that says where the images are."""

    extensions_map = {**http.server.SimpleHTTPRequestHandler.extensions_map, ".wasm": "application/wasm", ".js": "text/javascript"}

    def __init__(self, *rest, settings, **more):
        self.settings = settings
        super().__init__(*rest, directory=str(PAGES), **more)

    def do_GET(self):
        path = self.path.split("?")[0]
        if path == "/app-config.js":
            body = f"window.config = {json.dumps(self.settings)};".encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/javascript")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            return
        if not (PAGES / path.lstrip("/")).is_file():
            self.path = "/index.html"  # the pages find their way themselves
        super().do_GET()

    def log_message(self, *_):
        pass


class Viewer:
    def __init__(self, place):
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), lambda *a: Pages(*a, settings=self.settings))
        self.origin = f"http://127.0.0.1:{self.server.server_address[1]}"
        os.environ["HUTONG_HTTP__CORS_ORIGINS"] = json.dumps([self.origin])
        try:
            self.node = Node(place)
        finally:
            del os.environ["HUTONG_HTTP__CORS_ORIGINS"]
        self.settings = {}
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def configure(self, root, thumbnails):
        at = self.node.http + root
        source = {"friendlyName": "Hutong", "name": "hutong", "qidoRoot": at, "wadoRoot": at, "wadoUriRoot": f"{self.node.http}/wado",
                  "qidoSupportsIncludeField": True, "imageRendering": "wadors", "thumbnailRendering": thumbnails,
                  "enableStudyLazyLoad": True, "supportsFuzzyMatching": True, "supportsWildcard": True,
                  "bulkDataURI": {"enabled": True}, "omitQuotationForMultipartRequest": thumbnails != "thumbnail"}
        self.settings = {"routerBasename": "/", "showStudyList": True, "extensions": [], "modes": [], "customizationService": {},
                         "maxNumberOfWebWorkers": 2, "showWarningMessageForCrossOrigin": False, "investigationalUseDialog": {"option": "never"},
                         "defaultDataSourceName": "dicomweb", "dataSources": [{
                             "namespace": "@ohif/extension-default.dataSourcesModule.dicomweb", "sourceName": "dicomweb", "configuration": source}]}

    def stop(self):
        self.server.shutdown()
        self.node.stop()


@pytest.fixture(scope="module")
def browser():
    if not (PAGES / "index.html").is_file() or not CHROMIUM:
        assert os.environ.get("CI") != "true", "tests/run fetches the pages of OHIF and installs Chromium"
        pytest.skip("OHIF or Chromium is not here; tests/run fetches them")
    from playwright.sync_api import sync_playwright
    SHOTS.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield running
        running.close()


@pytest.fixture(scope="module")
def viewer(tmp_path_factory, phantoms, shared):
    made = Viewer(tmp_path_factory.mktemp("ohif"))
    series = shared / "data/series"
    for folder in (phantoms / "CtHead", phantoms / "Chest", series / "CT_head_GE_tilt_28", series / "MR_knee_Siemens_SAGT1_24_jpegll"):
        # +sd with every syntax proposed as it is: dcmsend goes by the files.
        code, said = run("dcmsend", "-aet", "DCMSEND", "-aec", "HUTONG", "+sd", "127.0.0.1", str(made.node.port), str(folder))
        assert code == 0, said
    for study in made.node.json("/dicom-web/studies"):
        made.node.judged(study["0020000D"]["Value"][0])
    yield made
    made.stop()


def open_study(browser, viewer, study, name):
    """What the viewer shows of a study, and every request and complaint on the way there."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, service_workers="block")
    # A guided tour would cover the image.
    context.add_init_script("localStorage.setItem('shownTours', JSON.stringify(['basicViewerTour']))")
    page, seen, wrong = context.new_page(), [], []
    page.on("response", lambda r: seen.append((r.request.method, r.url, r.status)))
    page.on("requestfailed", lambda r: wrong.append(("failed", r.url, r.failure)))
    page.on("console", lambda m: wrong.append(("console", m.text)) if m.type == "error" else None)
    page.on("pageerror", lambda e: wrong.append(("page", str(e))))
    page.goto(f"{viewer.origin}/viewer?StudyInstanceUIDs={study}")
    page.wait_for_function(DRAWN, timeout=120_000)
    # The rest of the stack and the thumbnails: until nothing came for a while.
    count, since = -1, time.time()
    while time.time() - since < 1.5:
        page.wait_for_timeout(200)
        if len(seen) != count:
            count, since = len(seen), time.time()
    page.screenshot(path=str(SHOTS / f"{name}.png"))
    shown = page.evaluate(SHOWN)
    thumbnails = page.evaluate("[...document.querySelectorAll('[data-cy^=study-browser-thumbnail] img')].map(i => i.naturalWidth)")
    context.close()
    wrong += [r for r in seen if r[2] >= 400]
    assert not wrong, wrong[:5]
    return shown, [r for r in seen if r[1].startswith(viewer.node.http)], thumbnails


def picture(data):
    return numpy.asarray(PIL.Image.open(io.BytesIO(data)).convert("L")).astype(float)


def likeness(shown, corner=False):
    """Pearson's correlation of the canvas with the frame as the node renders it, pixel on pixel; or of its upper right corner."""
    url = re.sub("^wadors:", "", shown["id"]) + "/rendered"
    truth = picture(urllib.request.urlopen(urllib.request.Request(url, headers={"Accept": "image/png"})).read())
    canvas = picture(base64.b64decode(shown["png"].split(",")[1]))
    origin, right, down = (numpy.array(c) for c in shown["corners"])
    u, v = numpy.meshgrid(numpy.linspace(0, 1, truth.shape[1]), numpy.linspace(0, 1, truth.shape[0]))
    at = numpy.rint(origin + u[..., None] * (right - origin) + v[..., None] * (down - origin)).astype(int)
    inside = (at[..., 0] >= 0) & (at[..., 0] < canvas.shape[1]) & (at[..., 1] >= 0) & (at[..., 1] < canvas.shape[0])
    assert inside.mean() > 0.95, "most of the image is on the canvas"
    if corner:
        inside &= (u > 0.75) & (v < 0.15)
        assert truth[inside].std() > 20, "there is something in the corner"
    return numpy.corrcoef(canvas[at[..., 1][inside], at[..., 0][inside]], truth[inside])[0, 1]


@pytest.mark.parametrize("name,root,which,thumbnails", [
    ("phantom", "/dicom-web", "HT0002", "wadors"),
    ("thumbnails", "/dicom-web", "HT0002", "thumbnail"),
    ("real-ct", "/dicom-web", "CT_head_GE_tilt_28", "rendered"),
    ("real-mr", "/dicom-web", "MR_knee_Siemens_SAGT1_24_jpegll", "wadors"),
    ("marked-ct", "/exchange/dicom-web", "HT0002", "wadors"),
    ("marked-chest", "/exchange/dicom-web", "HT0001", "rendered"),
])
def test_ohif_shows_what_the_node_renders(browser, viewer, shared, name, root, which, thumbnails):
    if which.startswith("HT"):
        study = viewer.node.json(f"{root}/studies?PatientID={which}")[0]["0020000D"]["Value"][0]
    else:
        study = str(pydicom.dcmread(next((shared / "data/series" / which).iterdir()), stop_before_pixels=True).StudyInstanceUID)
    viewer.configure(root, thumbnails)
    shown, requests, pictures = open_study(browser, viewer, study, name)
    assert likeness(shown) >= 0.95
    if name.startswith("marked"):
        # The mark itself is on the canvas: without it the whole picture is as like.
        assert likeness(shown, corner=True) >= 0.9
    paths = {re.sub(r"[\d.]{6,}", "*", r[1].split("?")[0].removeprefix(viewer.node.http + root)) for r in requests}
    assert {"/studies", "/studies/*/series", "/studies/*/series/*/metadata", "/studies/*/series/*/instances/*/frames/1"} <= paths, paths
    if thumbnails == "thumbnail":
        assert any("thumbnail" in p for p in paths) and pictures and min(pictures) > 0


def test_a_page_of_another_origin_gets_nothing(viewer):
    asked = urllib.request.Request(f"{viewer.node.http}/dicom-web/studies", headers={"Accept": "*/*", "Origin": "http://elsewhere.example"})
    assert "Access-Control-Allow-Origin" not in urllib.request.urlopen(asked).headers
    asked = urllib.request.Request(f"{viewer.node.http}/dicom-web/studies", headers={"Accept": "*/*", "Origin": viewer.origin})
    assert urllib.request.urlopen(asked).headers["Access-Control-Allow-Origin"] == viewer.origin


def test_the_study_list_of_ohif_finds_patients(browser, viewer):
    viewer.configure("/dicom-web", "thumbnail")
    page = browser.new_context(viewport={"width": 1280, "height": 900}, service_workers="block").new_page()
    wrong = []
    page.on("response", lambda r: wrong.append((r.url, r.status)) if r.status >= 400 else None)
    page.goto(viewer.origin)
    # The first row has the headings, the second one the filters.
    page.get_by_role("row").nth(2).wait_for(timeout=60_000)
    page.wait_for_timeout(500)
    page.screenshot(path=str(SHOTS / "list.png"))
    said = page.inner_text("body")
    assert not wrong, wrong
    assert "1-4 of 4" in said and "GENOU" in said, said[:500]
