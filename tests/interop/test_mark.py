"""The burnt mark before foreign eyes: decoders (pydicom with pylibjpeg, DCMTK, GDCM) on every pixel outside its box, Tesseract on its
letters as DCMTK renders them, dciodvfy on the objects around it."""
import base64
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy
import pydicom
import pytest
from PIL import Image, ImageDraw
from pydicom.pixels import pixel_array

import pixels
from conftest import PROGRAM
from test_objects import faults

REGION = "yubei-2023"
# Decoders may round a lossy stream's samples each in its own way.
LOSSY = {"1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.53", "1.2.840.10008.1.2.4.55",
         "1.2.840.10008.1.2.4.91", "1.2.840.10008.1.2.4.203", "1.2.840.10008.1.2.4.111", "1.2.840.10008.1.2.4.112"}


def mark(sources, out, *options, serial=False):
    """What `hutong mark` made of each file: name relative to `sources`, to (outcome, copy)."""
    command = [str(PROGRAM), "mark", str(sources), "--out", str(out), "--region", REGION, "--any-image", "--json", *options]
    ran = subprocess.run((["taskset", "-c", "0"] if serial else []) + command, capture_output=True, text=True)
    assert ran.returncode in (0, 1), ran.stderr
    rows = json.loads(ran.stdout)["files"]
    return {str(Path(row["file"]).relative_to(sources)): row for row in rows}


def stored(data_set):
    """Samples as (frames, rows, columns, samples), nothing converted."""
    # pydicom makes RGB of YBR with 8 bits only.
    deep = data_set.BitsAllocated > 8 and str(data_set.PhotometricInterpretation).startswith("YBR")
    array = pixel_array(data_set, raw=True) if deep else data_set.pixel_array
    if array.dtype.kind == "i" and int(data_set.SamplesPerPixel) > 1:
        array = array.view(array.dtype.str.replace("i", "u"))  # colours have no sign, whatever the header says
    frames = int(data_set.get("NumberOfFrames", 1) or 1)
    return array.reshape(frames, data_set.Rows, data_set.Columns, -1)


def by_tool(command, path, out):
    out.unlink(missing_ok=True)
    if subprocess.run([*command, str(path), str(out)], capture_output=True).returncode == 0 and out.exists():
        return pydicom.dcmread(out, force=True)


LOSSLESS_OF_REFERENCE = {"deflated_frame_8_1.dcm", "encapsulated_uncompressed_1_98.dcm", "jpegxl_lossless_110.dcm", "j2k_part2_92.dcm"}


def witnesses(path, place):
    """Every decoder that takes the file: its name, and its samples."""
    head = pydicom.dcmread(path, stop_before_pixels=True, force=True)
    syntax = pydicom.uid.UID(head.file_meta.get("TransferSyntaxUID", "1.2.840.10008.1.2"))
    tools = {
        "pydicom": lambda: pydicom.dcmread(path),
        "dcmdjpeg": lambda: by_tool(["dcmdjpeg", "+cn"], path, place / "w.dcm"),
        "dcmdjpeg RGB": lambda: by_tool(["dcmdjpeg", "+cp"], path, place / "w.dcm"),
        # The same picture without compression lies beside syntaxes that no tool here reads.
        "reference": lambda: path.name in LOSSLESS_OF_REFERENCE and pydicom.dcmread(path.with_name("ct_chest_ref.dcm")) or None,
        "dcmdjpls": lambda: by_tool(["dcmdjpls"], path, place / "w.dcm"),
        "dcmdrle": lambda: by_tool(["dcmdrle"], path, place / "w.dcm"),
        "gdcmconv": lambda: by_tool(["gdcmconv", "--raw"], path, place / "w.dcm"),
    }
    for name, read in tools.items():
        # The tools hand uncompressed files through. GDCM takes the bytes of 16-bit colour RLE in the wrong order.
        if name in ("dcmdjpeg", "gdcmconv", "dcmdjpls", "dcmdrle") and not syntax.is_compressed or (name == "gdcmconv" and syntax.endswith("1.2.5") and head.BitsAllocated > 8):
            continue
        if name == "dcmdjpeg RGB" and not (syntax in LOSSY and str(head.get("PhotometricInterpretation", "")).startswith("YBR")):
            continue
        try:
            data_set = read()
            if data_set is not None:
                yield name, data_set, stored(data_set)
        except Exception:
            continue


def box_of(before, after):
    """Where two images differ: left, upper, right, lower of all frames; and in how many frames."""
    differs = (before != after).any(axis=3)
    rows, columns = numpy.where(differs.any(axis=0))
    assert len(rows), "nothing was burnt"
    return (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1), int(differs.any(axis=(1, 2)).sum())


def check_box(box, shape, shuttered=False):
    left, upper, right, lower = box
    rows, columns = shape
    assert right <= columns and (right > columns * 0.85 or shuttered), (box, shape)
    assert left >= columns * 0.05 and upper < rows * 0.15 or shuttered, (box, shape)
    assert (lower - upper) <= max(34, rows * 0.12), (box, shape)


@pytest.fixture(scope="module")
def generated(tmp_path_factory):
    folder = tmp_path_factory.mktemp("matrix")
    pixels.write(folder)
    return folder


@pytest.fixture(scope="module")
def marked_matrix(generated, tmp_path_factory):
    out = tmp_path_factory.mktemp("marked")
    return mark(generated, out)


def test_every_generated_kind_of_image_is_marked(marked_matrix):
    refused = {name: row.get("why") for name, row in marked_matrix.items() if row["outcome"] != "marked"}
    assert not refused
    assert len(marked_matrix) >= 90, len(marked_matrix)


def compare(name, source, copy, plain, place):
    """Outside the box nothing changed: against our own unmarked copy exactly, against foreign decoders as exactly as they agree."""
    after, unmarked = (stored(pydicom.dcmread(p)) for p in (copy, plain))
    box, frames = box_of(unmarked, after)
    assert frames == len(after), (name, "not every frame is marked")
    check_box(box, after.shape[1:3], shuttered="shutter" in name or "overlay_corner" in name)
    left, upper, right, lower = box
    seen = []
    for witness, data_set, samples in witnesses(source, place):
        if samples.shape != after.shape:
            continue
        ours, theirs = pydicom.dcmread(copy).PhotometricInterpretation, data_set.PhotometricInterpretation
        if ours != theirs and "RGB" in (ours, theirs):
            continue
        outside = numpy.abs(samples.astype("int64") - after.astype("int64"))
        outside[:, upper:lower, left:right] = 0
        syntax = str(pydicom.dcmread(source, stop_before_pixels=True, force=True).file_meta.get("TransferSyntaxUID", ""))
        allowed = 2 if syntax in LOSSY else 0
        if witness == "dcmdjpeg RGB":
            # Chroma of fewer samples is spread over the pixels in several ways.
            assert outside.mean() <= 2, (name, witness, outside.mean())
            # Colours stay their own: exchanged or lost ones differ more than those that are.
            mixed = samples[..., ::-1].astype("int64"), samples.mean(axis=3, keepdims=True).astype("int64")
            for other in mixed:
                apart = numpy.abs(other - samples).mean()
                assert apart < 0.5 or numpy.abs(other - after).mean() > numpy.abs(samples.astype("int64") - after).mean() * 1.2, (name, witness)
            allowed = 255
        assert outside.max() <= allowed, (name, witness, int(outside.max()), syntax)
        seen.append((witness, int(outside.max())))
    return seen


def test_outside_the_box_every_sample_of_the_matrix_is_what_foreign_decoders_see(generated, marked_matrix, tmp_path):
    plain = mark(generated, tmp_path / "plain", "--form", "overlay")
    unseen = []
    for name, row in marked_matrix.items():
        seen = compare(name, generated / name, row["out"], plain[name]["out"], tmp_path)
        if not seen:
            unseen.append(name)
    print("no witness decodes:", unseen)
    assert len(unseen) <= len(marked_matrix) // 10, unseen


def test_outside_the_box_every_real_image_is_what_foreign_decoders_see(shared, tmp_path):
    done = mark(shared / "data", tmp_path / "marked")
    plain = mark(shared / "data", tmp_path / "plain", "--form", "overlay")
    compared, unseen, witnessed = 0, [], set()
    for name, row in done.items():
        if row["outcome"] != "marked":
            continue
        seen = compare(name, shared / "data" / name, row["out"], plain[name]["out"], tmp_path)
        compared += 1
        witnessed.update(w for w, _ in seen)
        if not seen:
            unseen.append(name)
    print(compared, "compared; no witness decodes:", unseen)
    assert compared >= 280 and witnessed >= {"pydicom", "dcmdjpeg", "dcmdjpls", "dcmdrle", "gdcmconv"}, (compared, witnessed)
    assert len(unseen) <= 6, unseen


@pytest.mark.parametrize("syntax,uid", [("jpeg-ls", ".80"), ("jpeg-2000", ".90"), ("htj2k", ".201"), ("rle", "1.2.5")])
def test_compressed_copies_hold_the_same_samples(generated, marked_matrix, tmp_path, syntax, uid):
    done = mark(generated, tmp_path, "--transfer-syntax", syntax)
    compressed, witnessed = 0, set()
    for name, row in done.items():
        assert row["outcome"] == "marked", (name, row)
        native = stored(pydicom.dcmread(marked_matrix[name]["out"]))
        wanted = row["transfer_syntax"].endswith(uid)
        compressed += wanted
        assert wanted or row["transfer_syntax"] == "1.2.840.10008.1.2.1"
        assert pydicom.dcmread(row["out"])["PixelData"].is_undefined_length == wanted
        seen = [(witness, samples) for witness, _, samples in witnesses(Path(row["out"]), tmp_path) if samples.shape == native.shape]
        assert seen, f"{name}: no witness decodes {row['transfer_syntax']}"
        assert all((samples == native).all() for _, samples in seen), (name, [w for w, s in seen if (s != native).any()])
        witnessed.update(witness for witness, _ in seen)
    assert {"jpeg-ls": {"dcmdjpls", "gdcmconv"}, "rle": {"dcmdrle"}, "jpeg-2000": {"gdcmconv"}}.get(syntax, set()) <= witnessed, witnessed
    # 32 bits, and what uses the bits beside the stored ones, is written native; RLE holds every word as it is.
    unfit = {n for n in done if n.startswith(("grey32", "grey_high_bit", "overlay_in_bits", "overlay_corner_bits"))}
    native_ones = {n for n, row in done.items() if not row["transfer_syntax"].endswith(uid)}
    assert native_ones <= (set() if syntax == "rle" else unfit), native_ones
    assert compressed >= 130


def test_a_file_that_is_cut_off_fails_and_says_so(generated, tmp_path):
    (tmp_path / "in").mkdir()
    for name in ("grey12u2.le.dcm", "grey12u2.lossless70.dcm"):
        whole = (generated / name).read_bytes()
        (tmp_path / "in" / name).write_bytes(whole[: len(whole) // 2])
    done = mark(tmp_path / "in", tmp_path / "out")
    assert len(done) == 2 and all(row["outcome"] == "failed" and "cut off" in row["why"] for row in done.values()), done


def test_a_stream_that_ends_early_in_a_whole_file_fails(shared, tmp_path):
    """Its end marker is there and its samples are not: a decoder that fills in one shade must not be believed."""
    (tmp_path / "in").mkdir()
    kinds = 0
    for source in sorted((shared / "data/ts").rglob("*.dcm")):
        d = pydicom.dcmread(source, force=True)
        syntax = d.get("file_meta", {}).get("TransferSyntaxUID", "")
        if not str(syntax).startswith("1.2.840.10008.1.2.4.") or "PixelData" not in d or int(d.get("NumberOfFrames", 1) or 1) != 1 or d.Rows < 64:
            continue
        if str(syntax).split(".")[-1] not in ("50", "51", "57", "70", "80", "81") or source.name == "pydicom__SC_rgb_jpeg.dcm":  # no data set
            continue
        stream = b"".join(pydicom.encaps.generate_fragments(d.PixelData))
        short = stream[: len(stream) * 6 // 10] + b"\xff\xd9"
        d.PixelData = pydicom.encaps.encapsulate([short])
        d["PixelData"].VR, d["PixelData"].is_undefined_length = "OB", True
        d.save_as(tmp_path / "in" / f"{kinds}.{str(syntax).split('.')[-1]}.dcm")
        kinds += 1
    done = mark(tmp_path / "in", tmp_path / "out")
    assert kinds >= 12 and len(done) == kinds, kinds
    assert all(row["outcome"] == "failed" for row in done.values()), {n: r for n, r in done.items() if r["outcome"] != "failed"}


def test_frames_that_the_header_does_not_name_are_not_lost(tmp_path):
    """Three frames, and a header that says fewer: a copy of one of them would not be the image."""
    (tmp_path / "in").mkdir()
    d = pixels.grey(12, False, "MONOCHROME2", frames=3)
    d.save_as(tmp_path / "in/three.dcm", enforce_file_format=True)
    subprocess.run(["dcmcrle", str(tmp_path / "in/three.dcm"), str(tmp_path / "in/three_rle.dcm")], check=True)
    subprocess.run(["dcmcjpeg", "+e1", "+ot", str(tmp_path / "in/three.dcm"), str(tmp_path / "in/three_jpeg.dcm")], check=True)
    for source in ("three", "three_rle", "three_jpeg"):
        for frames in (1, 2):
            less = pydicom.dcmread(tmp_path / f"in/{source}.dcm")
            less.NumberOfFrames = frames
            less.save_as(tmp_path / f"in/{source}_as_{frames}.dcm")
    done = mark(tmp_path / "in", tmp_path / "out")
    assert {name: row["outcome"] for name, row in done.items()} == {
        f"{source}{said}.dcm": "failed" if said else "marked" for source in ("three", "three_rle", "three_jpeg") for said in ("", "_as_1", "_as_2")}


def test_a_corner_that_an_overlay_fills_is_not_marked_under_it(tmp_path):
    (tmp_path / "in").mkdir()
    pixels.overlay(False, rows=slice(0, 140), columns=slice(110, 256)).save_as(tmp_path / "in/full.dcm", enforce_file_format=True)
    pixels.overlay(False).save_as(tmp_path / "in/aside.dcm", enforce_file_format=True)
    done = mark(tmp_path / "in", tmp_path / "out")
    assert (done["full.dcm"]["outcome"], done["aside.dcm"]["outcome"]) == ("failed", "marked"), done


def test_frames_without_a_window_are_marked_for_one_window_of_all(tmp_path):
    """A dark frame beside a bright one: its mark is as light as the object's, not as light as the frame's own samples."""
    d = pixels.fill(pixels.grey(12, False, "MONOCHROME2", rows=128, columns=128, frames=2), pixels.scene(128, 128, 0, 4095))
    for keyword in ("WindowCenter", "WindowWidth"):
        if keyword in d:
            del d[keyword]
    samples = numpy.stack([numpy.linspace(409, 3686, 128 * 128).reshape(128, 128), numpy.linspace(100, 140, 128 * 128).reshape(128, 128)])
    d.NumberOfFrames, d.PixelData = 2, samples.astype("<u2").tobytes()
    (tmp_path / "in").mkdir()
    d.save_as(tmp_path / "in/two.dcm", enforce_file_format=True)
    (row,) = mark(tmp_path / "in", tmp_path / "out").values()
    assert row["outcome"] == "marked", row
    copy = pydicom.dcmread(row["out"]).pixel_array
    assert copy[1].max() > 3000 and copy[0].min() < 200, (copy[1].max(), copy[0].min())


def test_whole_words_of_a_signed_copy_read_as_its_samples(shared, tmp_path):
    """Readers that take 16 bit words as numbers see what those see that cut off the unused bits, and dcmcjpls keeps every sample."""
    series = shared / "data/series/MR_lspine_Hitachi_T2SAG_11_ja"
    for name, row in mark(series, tmp_path / "out").items():
        source, copy = pydicom.dcmread(series / name), pydicom.dcmread(row["out"])
        words = numpy.frombuffer(copy.PixelData, "<i2").reshape(copy.pixel_array.shape)
        assert (words == copy.pixel_array).all() and (words != source.pixel_array).any(), name
        subprocess.run(["dcmcjpls", row["out"], str(tmp_path / "x.dcm")], check=True, capture_output=True)
        subprocess.run(["dcmdjpls", str(tmp_path / "x.dcm"), str(tmp_path / "y.dcm")], check=True, capture_output=True)
        assert (pydicom.dcmread(tmp_path / "y.dcm").pixel_array == copy.pixel_array).all(), name


def test_marking_in_parallel_and_in_series_gives_the_same_bytes(generated, marked_matrix, tmp_path):
    again = mark(generated, tmp_path, serial=True)
    digest = lambda path: hashlib.sha256(Path(path).read_bytes()).hexdigest()
    assert all(digest(row["out"]) == digest(again[name]["out"]) for name, row in marked_matrix.items())


def test_the_mark_keeps_clear_of_what_hides_or_covers_it(generated, marked_matrix, tmp_path):
    plain = mark(generated, tmp_path / "plain", "--form", "overlay")
    rows, columns = numpy.mgrid[:256, :256]
    wide_rows, wide_columns = numpy.mgrid[:512, :512]
    covered = {
        "overlay_corner_plane": (rows < 60) & (columns >= 200), "overlay_corner_bits": (rows < 60) & (columns >= 200),
        "overlay_corner_frames": (rows < 60) & (columns >= 190),
        "shutter_rectangular": (wide_columns < 40) | (wide_columns > 468) | (wide_rows < 60) | (wide_rows > 478),
        "shutter_circular": (wide_rows - 255) ** 2 + (wide_columns - 255) ** 2 > 250 ** 2,
    }
    for name, hidden in covered.items():
        left, upper, right, lower = box_of(*(stored(pydicom.dcmread(m[f"{name}.le.dcm"]["out"])) for m in (plain, marked_matrix)))[0]
        assert not hidden[upper:lower, left:right].any(), name
        size = hidden.shape[0]
        assert left + right > size and upper + lower < size, (name, "in the top right quarter")


# What a copy says otherwise than its source, or not at all (docs/mark.md).
OWN = {"SOPInstanceUID", "SeriesInstanceUID", "ImageType", "SourceImageSequence", "DerivationCodeSequence", "DerivationDescription",
       "ContributingEquipmentSequence", "SeriesDescription", "BurnedInAnnotation", "PixelData", "PlanarConfiguration",
       "PhotometricInterpretation", "LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod"}


def test_a_copy_keeps_every_attribute_and_says_what_it_is(generated, marked_matrix):
    for name, row in marked_matrix.items():
        source, copy = pydicom.dcmread(generated / name), pydicom.dcmread(row["out"])
        for element in source:
            if element.keyword in OWN or "signed" in name and element.keyword == "PixelRepresentation" and "grey" not in name:
                continue
            if element.keyword in ("BitsStored", "HighBit", "SmallestImagePixelValue") and "ybr_422" in name:
                continue
            assert element.tag in copy, (name, element.tag)
            if not name.endswith((".be.dcm",)) or element.VR not in ("OW", "SQ"):
                assert copy[element.tag].value == element.value and copy[element.tag].VR == element.VR, (name, element, copy[element.tag])
        assert copy.ImageType[0] == "DERIVED" and (copy.get("BurnedInAnnotation") == "YES" or "Enhanced" in copy.SOPClassUID.name), name
        assert copy.SourceImageSequence[0].ReferencedSOPInstanceUID == source.SOPInstanceUID, name
        assert copy.ContributingEquipmentSequence[-1].Manufacturer == "Hutong", name
        assert copy.SeriesDescription.endswith("[渝北 HR]") and len(copy.SeriesDescription) <= 64, name
        assert copy.DerivationDescription.endswith("mark burned in, all other pixels unchanged") and len(copy.DerivationDescription) <= 1024, name
        before = (source.get("SeriesDescription", ""), source.get("DerivationDescription", ""))
        assert copy.SeriesDescription.startswith(before[0][:50]) and copy.DerivationDescription.startswith(before[1][:900]), name
        lossy = str(source.file_meta.TransferSyntaxUID) in LOSSY and "lossless" not in name and not name.endswith("jpegls.dcm")
        if lossy or source.get("LossyImageCompression") == "01":
            assert copy.LossyImageCompression == "01" and float(copy.LossyImageCompressionRatio) >= 1, name
            for keyword in ("LossyImageCompressionRatio", "LossyImageCompressionMethod"):
                if keyword in source:
                    assert copy[keyword].value == source[keyword].value, name
        else:
            assert copy.get("LossyImageCompression", "00") == source.get("LossyImageCompression", "00"), name


def test_the_sheet_shows_the_mark_on_every_kind_of_image(tmp_path):
    out = tmp_path / "sheet.html"
    subprocess.run([str(PROGRAM), "mark-sheet", "--region", REGION, "--out", str(out)], check=True, capture_output=True)
    pictures = re.findall(r'src="data:image/png;base64,([^"]+)"', out.read_text(encoding="utf-8"))
    assert len(pictures) >= 8, len(pictures)
    contrasts = []
    for n, data in enumerate(pictures):
        image = Image.open(io.BytesIO(base64.b64decode(data))).convert("L")
        # Whole images, and what their corner looks like from near.
        corner = numpy.asarray(image)[: max(image.height // 6, 85), image.width // 2:]
        contrasts.append(int(corner.max()) - int(corner.min()))
    # Windows four times as wide as the image's own leave a quarter of everything, the mark's contrast too.
    assert min(contrasts) > 45 and sorted(contrasts)[len(contrasts) // 3] > 120, contrasts


def read_by_ocr(picture):
    """The letters of a picture of one line."""
    said = subprocess.run(["tesseract", "-", "-", "-l", "chi_sim+eng", "--psm", "7"], input=picture, capture_output=True)
    return said.stdout.decode().replace(" ", "").strip()


def corner(copy, plain, place, threshold, height, *window):
    """The mark as DCMTK renders it: cut out where copy and unmarked copy differ, letters about 50 pixels high, dark on light."""
    out = place / "frame.png"
    out.unlink(missing_ok=True)
    subprocess.run(["dcmj2pnm", "+on", *window, str(copy), str(out)], check=True, capture_output=True)
    image = Image.open(out).convert("L")
    box, _ = box_of(*(stored(pydicom.dcmread(p)) for p in (plain, copy)))
    ratio = pydicom.dcmread(copy, stop_before_pixels=True).get("PixelAspectRatio")
    if ratio:
        image = image.resize((image.width, image.height * int(ratio[0]) // int(ratio[1])))
    # DCMTK stretches pixels that are no squares, where their spacing says so.
    across, down = (size / n for size, n in zip(image.size, stored(pydicom.dcmread(copy)).shape[2:0:-1]))
    # On black the outline changes nothing: a little more than what differs.
    more = (box[3] - box[1]) // 5 + 1
    box = (max(0, box[0] - more), max(0, box[1] - more), box[2] + more, box[3] + more)
    image = image.crop((int(box[0] * across), int(box[1] * down), int(min(box[2] * across, image.width)), int(box[3] * down)))
    scale = height / image.height
    image = image.resize((int(image.width * scale), int(image.height * scale)), Image.LANCZOS)
    low, high = image.getextrema()
    image = Image.eval(image, lambda v: 0 if v > low + (high - low) * threshold else 255)
    # What is bright and reaches the edge of the box is image, not letter: an outline parts the two.
    for x, y in [(x, y) for x in range(image.width) for y in (0, image.height - 1)] + \
                [(x, y) for y in range(image.height) for x in (0, image.width - 1)]:
        if image.getpixel((x, y)) == 0:
            ImageDraw.floodfill(image, (x, y), 255)
    padded = Image.new("L", (image.width + 60, image.height + 60), 255)
    padded.paste(image, (30, 30))
    padded.save(place / "corner.png", dpi=(300, 300))
    return (place / "corner.png").read_bytes()


def legible(copy, plain, place, *window):
    # Tesseract is particular about size and weight: it is shown the letters in a few of each.
    for height, threshold in ((100, 0.55), (80, 0.55), (60, 0.6), (80, 0.8), (100, 0.7), (130, 0.6), (70, 0.5), (90, 0.65), (110, 0.45), (150, 0.7)):
        text = read_by_ocr(corner(copy, plain, place, threshold, height, *window))
        if "渝北" in text and "HR" in text:
            break
    return "渝北" in text and "HR" in text, text


def test_tesseract_reads_the_mark_on_every_kind_of_image(generated, marked_matrix, tmp_path):
    plain = mark(generated, tmp_path / "plain", "--form", "overlay")
    unread, faint = {}, {}
    for name, row in marked_matrix.items():
        data_set = pydicom.dcmread(row["out"], stop_before_pixels=True)
        # DCMTK's default is no window at all.
        window = []
        if data_set.PhotometricInterpretation.startswith("MONO"):
            window = ["+Wl", "1"] if "VOILUTSequence" in data_set else ["+Wi", "1"]
        # Nothing is stretched here: what OCR makes out after stretching must stand out to the eye too.
        contrast = contrast_of(row["out"], plain[name]["out"], tmp_path, *window)
        if contrast < 70:
            faint[name] = contrast
        read, text = legible(row["out"], plain[name]["out"], tmp_path, *window)
        if not read:
            unread[name] = text
            keep(tmp_path / "corner.png", name)
    assert not unread and not faint, (unread, faint)


def keep(picture, name):
    """For looking at it, when HUTONG_KEEP names a folder."""
    if folder := os.environ.get("HUTONG_KEEP"):
        shutil.copy(picture, Path(folder) / f"{name.replace('/', '_')}.png")


def contrast_of(copy, plain, place, *window):
    """Grey levels between the brightest and the darkest tenth of the mark's box, as DCMTK renders it, nothing stretched."""
    out = place / "frame.png"
    out.unlink(missing_ok=True)
    subprocess.run(["dcmj2pnm", "+on", *window, str(copy), str(out)], check=True, capture_output=True)
    left, upper, right, lower = box_of(*(stored(pydicom.dcmread(p)) for p in (plain, copy)))[0]
    box = numpy.asarray(Image.open(out).convert("L"))[max(0, upper - 3):lower + 3, max(0, left - 3):right + 3]
    return float(numpy.percentile(box, 90)) - float(numpy.percentile(box, 10))


CT_WINDOWS = {"brain": (40, 80), "soft tissue": (40, 400), "lung": (-600, 1600), "bone": (500, 2000)}


@pytest.mark.parametrize("window", CT_WINDOWS)
def test_tesseract_reads_the_mark_on_ct_in_every_usual_window(shared, tmp_path, window):
    folder = tmp_path / "in"
    folder.mkdir()
    for series in ("CT_head_GE_tilt_28", "CT_abdomen_Philips_5", "CT_ibsi_chest_60"):
        files = sorted((shared / "data/series" / series).glob("*.dcm"))
        shutil.copy(files[len(files) // 2], folder / f"{series}.dcm")
    done = mark(folder, tmp_path / "out")
    plain = mark(folder, tmp_path / "plain", "--form", "overlay")
    center, width = CT_WINDOWS[window]
    for name, row in done.items():
        contrast = contrast_of(row["out"], plain[name]["out"], tmp_path, "+Ww", str(center), str(width))
        assert contrast > 120, (name, window, contrast)
        read, text = legible(row["out"], plain[name]["out"], tmp_path, "+Ww", str(center), str(width))
        if not read:
            keep(tmp_path / "corner.png", name)
        assert read, (name, text)


def test_objects_have_no_fault_that_their_sources_have_not(generated, marked_matrix, shared, tmp_path):
    pairs = [(generated / name, row) for name, row in marked_matrix.items()]
    for folder in ("charset", "dr", "enhanced", "malformed", "single_ct_mr", "ts"):
        out = tmp_path / folder
        command = [str(PROGRAM), "mark", str(shared / "data" / folder), "--out", str(out), "--region", REGION, "--json"]
        rows = json.loads(subprocess.run(command, capture_output=True, text=True).stdout)["files"]
        pairs += [(Path(row["file"]), row) for row in rows]
    new, compared = {}, 0
    kinds = lambda file: {fault.split(" in (")[0] for fault in faults(file)}
    for source, row in pairs:
        # dciodvfy does not read deflated data sets.
        if row["outcome"] != "marked" or "deflated" in source.name or source.name.endswith("dfl.dcm"):
            continue
        compared += 1
        # It counts bytes where characters count (PS3.5 6.2); how many there are, another test sees.
        more = {fault for fault in kinds(row["out"]) - kinds(source) if "Length invalid for this VR" not in fault}
        if more:
            new[str(source)] = more
    assert compared >= 150, compared
    assert not new, "\n".join(f"{source}: {more}" for source, more in new.items())


def test_a_copy_is_never_marked_again(marked_matrix, tmp_path):
    (tmp_path / "in").mkdir()
    shutil.copy(marked_matrix["grey12u2.le.dcm"]["out"], tmp_path / "in/copy.dcm")
    # As another archive would hand it back: other file meta information, other order of things, the same content.
    changed = pydicom.dcmread(tmp_path / "in/copy.dcm")
    changed.SOPInstanceUID = changed.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    changed.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2"
    changed.save_as(tmp_path / "in/again.dcm", implicit_vr=True, little_endian=True)
    # An archive that compresses anew replaces the derivation code; what takes names out may take the equipment.
    for option in ("+eb", "+ee", "+es", "+ep"):
        made = subprocess.run(["dcmcjpeg", option, "+ua", str(tmp_path / "in/copy.dcm"), str(tmp_path / f"in/lossy{option}.dcm")], capture_output=True, text=True)
        assert made.returncode == 0 or option != "+ee", made.stderr
    made = subprocess.run(["dcmcjpls", "+en", str(tmp_path / "in/copy.dcm"), str(tmp_path / "in/near.dcm")], capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    evidence = ("DerivationCodeSequence", "DerivationDescription", "ContributingEquipmentSequence")
    for kept in evidence:
        bare = pydicom.dcmread(tmp_path / "in/copy.dcm")
        for keyword in evidence:
            if keyword != kept:
                del bare[keyword]
        bare.save_as(tmp_path / f"in/{kept}.dcm")
    assert "HR-MARK" not in str(pydicom.dcmread(tmp_path / "in/lossy+ee.dcm", stop_before_pixels=True)), "DCMTK keeps it: this tests nothing"
    done = mark(tmp_path / "in", tmp_path / "out")
    assert len(done) >= 7 and {row["outcome"] for row in done.values()} == {"skipped"}, done
    assert all("already" in row["why"] for row in done.values())


def test_presentation_states_are_valid_and_name_the_images(phantoms, tmp_path):
    command = [str(PROGRAM), "mark", str(phantoms / "CtHead"), "--out", str(tmp_path), "--region", REGION, "--form", "gsps"]
    subprocess.run(command, check=True, capture_output=True)
    (file,) = tmp_path.glob("*.dcm")
    assert not faults(file), faults(file)
    state = pydicom.dcmread(file)
    named = {i.ReferencedSOPInstanceUID for i in state.ReferencedSeriesSequence[0].ReferencedImageSequence}
    images = {pydicom.dcmread(f, stop_before_pixels=True).SOPInstanceUID for f in (phantoms / "CtHead").glob("*.dcm")}
    assert named == images
    assert state.GraphicAnnotationSequence[0].TextObjectSequence[0].UnformattedTextValue == "渝北 HR"
    # DCMTK takes it for the image.
    image = next((phantoms / "CtHead").glob("*.dcm"))
    assert subprocess.run(["dcmp2pgm", str(image), str(tmp_path / "x.pgm"), "-p", str(file)], capture_output=True).returncode == 0
