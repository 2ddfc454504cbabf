"""A matrix of pixel formats as files: every depth, sign, colour space, layout and lookup table, in every transfer syntax that
pydicom, DCMTK and GDCM can write."""
import subprocess

import numpy
import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import generate_uid

NATIVE = {"le": "1.2.840.10008.1.2.1", "implicit": "1.2.840.10008.1.2", "be": "1.2.840.10008.1.2.2", "deflated": "1.2.840.10008.1.2.1.99"}


def scene(rows, columns, low, high, seed=1):
    """Bars from dark to bright with a little noise: the mark lies over black, grey and white."""
    random = numpy.random.default_rng(seed)
    bars = (numpy.arange(columns) * 18 // columns % 6) / 5
    noise = random.uniform(-0.02, 0.02, (rows, columns))
    return (low + (high - low) * numpy.clip(bars[None, :] + noise, 0, 1)).astype("int64")


def base(rows, columns, samples=1, photometric="MONOCHROME2", allocated=16, bits=None, signed=0, frames=1, high_bit=None):
    uid = generate_uid(entropy_srcs=[f"{rows}{columns}{samples}{photometric}{allocated}{bits}{signed}{frames}{high_bit}"])
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.7.4" if frames > 1 and samples > 1 else "1.2.840.10008.5.1.4.1.1.2"
    meta.MediaStorageSOPInstanceUID = uid
    meta.TransferSyntaxUID = NATIVE["le"]
    d = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    d.SpecificCharacterSet = "ISO_IR 192"
    d.SOPClassUID, d.SOPInstanceUID = meta.MediaStorageSOPClassUID, uid
    d.StudyInstanceUID, d.SeriesInstanceUID = generate_uid(entropy_srcs=["study"]), generate_uid(entropy_srcs=[str(uid), "s"])
    d.PatientName, d.PatientID, d.Modality = "测试^矩阵", "MATRIX", "OT"
    d.StudyDate, d.StudyTime, d.AccessionNumber, d.StudyID = "20260301", "080000", "", "1"
    d.PatientBirthDate, d.PatientSex, d.ReferringPhysicianName = "", "O", ""
    d.SeriesNumber, d.InstanceNumber, d.ImageType = 1, 1, ["ORIGINAL", "PRIMARY", "AXIAL"]
    d.Rows, d.Columns, d.SamplesPerPixel, d.PhotometricInterpretation = rows, columns, samples, photometric
    d.BitsAllocated, d.BitsStored = allocated, bits or allocated
    d.HighBit = d.BitsStored - 1 if high_bit is None else high_bit
    d.PixelRepresentation = signed
    if samples > 1:
        d.PlanarConfiguration = 0
    if frames > 1:
        d.NumberOfFrames = frames
    return d


def fill(d, array):
    word = {8: "u1", 16: "<u2", 32: "<u4"}[d.BitsAllocated]
    mask = (1 << d.BitsStored) - 1
    shift = d.HighBit + 1 - d.BitsStored
    words = ((array & mask) << shift).astype(word)
    if d.PixelRepresentation and shift == 0:
        words = (array & ((1 << d.BitsAllocated) - 1)).astype(word)
    d.PixelData = words.tobytes() + (b"\0" if words.nbytes % 2 else b"")
    d["PixelData"].VR = "OW" if d.BitsAllocated > 8 else "OB"
    return d


def grey(bits, signed, photometric, allocated=None, rows=256, columns=256, high_bit=None, frames=1):
    allocated = allocated or (8 if bits <= 8 else 16 if bits <= 16 else 32)
    d = base(rows, columns, 1, photometric, allocated, bits, int(signed), frames, high_bit)
    low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
    # A tenth of the range stays free at both ends, as in real images.
    low, high = low + (high - low) // 10, high - (high - low) // 10
    array = numpy.stack([scene(rows, columns, low, high, seed) for seed in range(frames)])
    d.WindowCenter, d.WindowWidth = (low + high) // 2, high - low
    return fill(d, array)


def colour(photometric, allocated=8, planar=0, frames=1, rows=200, columns=300):
    d = base(rows, columns, 3, photometric, allocated, frames=frames)
    top = (1 << allocated) - 1
    planes = []
    for seed in range(frames):
        y = scene(rows, columns, 0, top, seed)
        if photometric == "RGB":
            planes.append(numpy.stack([y, y, y // 2 + top // 4], axis=2))
        else:
            planes.append(numpy.stack([y, numpy.full_like(y, 110 << (allocated - 8)), numpy.full_like(y, 140 << (allocated - 8))], axis=2))
    array = numpy.stack(planes)
    d.PlanarConfiguration = planar
    return fill(d, array.transpose(0, 3, 1, 2) if planar else array)


def half_rate():
    d = colour("YBR_FULL")
    array = numpy.frombuffer(d.PixelData, "u1").reshape(200, 300, 3)
    packed = numpy.stack([array[:, 0::2, 0], array[:, 1::2, 0], array[:, 0::2, 1], array[:, 0::2, 2]], axis=2)
    d.PhotometricInterpretation = "YBR_FULL_422"
    d.PixelData = packed.tobytes()
    return d


def palette(bits, entries_bits, first=0):
    d = base(256, 256, 1, "PALETTE COLOR", 8 if bits <= 8 else 16, bits)
    count = 1 << min(bits, 12)
    array = scene(256, 256, 0, count - 1)
    ramp = numpy.linspace(0, (1 << entries_bits) - 1, count)
    for name, factor in (("Red", 1.0), ("Green", 0.9), ("Blue", 0.7)):
        table = (ramp * factor).astype("<u2" if entries_bits > 8 else "u1").tobytes()
        setattr(d, f"{name}PaletteColorLookupTableDescriptor", [count % 65536, first, entries_bits])
        setattr(d, f"{name}PaletteColorLookupTableData", table)
        d[f"{name}PaletteColorLookupTableData"].VR = "OW"
    return fill(d, array + first)


def with_tables(modality, voi):
    d = grey(12, False, "MONOCHROME2")
    table = Dataset()
    if modality:
        table.LUTDescriptor = [4096, 0, 16]
        table.LUTData = (numpy.arange(4096) * 10).astype("<u2").tobytes()
        table.ModalityLUTType = "US"
        table["LUTData"].VR, table["LUTDescriptor"].VR = "OW", "US"
        d.ModalityLUTSequence = [table]
        d.WindowCenter, d.WindowWidth = 20000, 33000
    if voi:
        del d.WindowCenter, d.WindowWidth
        top = 65535 if modality else 4095
        lut = Dataset()
        curve = (255 * (numpy.arange(top + 1) / top) ** 0.5).astype("<u2")
        lut.LUTDescriptor = [(top + 1) % 65536, 0, 8]
        lut.LUTData = curve.tobytes()
        lut["LUTData"].VR, lut["LUTDescriptor"].VR = "OW", "US"
        d.VOILUTSequence = [lut]
    return d


def overlay(in_bits, rows=slice(200, 220), columns=slice(30, 200)):
    d = grey(12, False, "MONOCHROME2")
    ring = numpy.zeros((256, 256), "u1")
    ring[rows, columns] = 1
    d.add_new(0x60000010, "US", 256)
    d.add_new(0x60000011, "US", 256)
    d.add_new(0x60000040, "CS", "G")
    d.add_new(0x60000050, "SS", [1, 1])
    if in_bits:
        words = numpy.frombuffer(d.PixelData, "<u2").copy()
        words |= (ring.reshape(-1).astype("<u2") << 14)
        d.PixelData = words.tobytes()
        d.add_new(0x60000100, "US", 16)
        d.add_new(0x60000102, "US", 14)
    else:
        d.add_new(0x60000100, "US", 1)
        d.add_new(0x60000102, "US", 0)
        d.add_new(0x60003000, "OW", numpy.packbits(ring.reshape(-1), bitorder="little").tobytes())
    return d


def overlay_of_frames():
    """Two frames; what the overlay draws on the second one fills the top right corner."""
    d = grey(12, False, "MONOCHROME2", frames=2)
    planes = numpy.zeros((2, 256, 256), "u1")
    planes[0, 200:220, 30:60] = 1
    planes[1, :60, 190:] = 1
    d.add_new(0x60000010, "US", 256)
    d.add_new(0x60000011, "US", 256)
    d.add_new(0x60000015, "IS", "2")
    d.add_new(0x60000040, "CS", "G")
    d.add_new(0x60000050, "SS", [1, 1])
    d.add_new(0x60000051, "US", 1)
    d.add_new(0x60000100, "US", 1)
    d.add_new(0x60000102, "US", 0)
    d.add_new(0x60003000, "OW", numpy.packbits(planes.reshape(-1), bitorder="little").tobytes())
    return d


def supplemental():
    """Grey below 3,000, dark blue from there on."""
    d = grey(12, False, "MONOCHROME2")
    d.PixelPresentation = "COLOR"
    for colour, shade in (("Red", 0), ("Green", 0), ("Blue", 90)):
        setattr(d, f"{colour}PaletteColorLookupTableDescriptor", [1096, 3000, 16])
        setattr(d, f"{colour}PaletteColorLookupTableData", numpy.full(1096, shade * 257, "<u2").tobytes())
    return d


def left_behind():
    """Grey, with a palette that nothing maps."""
    d = supplemental()
    del d.PixelPresentation
    for colour_ in ("Red", "Green", "Blue"):
        setattr(d, f"{colour_}PaletteColorLookupTableDescriptor", [1096, 0, 16])
    return d


def padding_alone():
    """The last slice of a CT, beyond the body: padding everywhere."""
    d = grey(12, False, "MONOCHROME2")
    d.PixelData = bytes(len(d.PixelData))
    d.Modality, d.RescaleSlope, d.RescaleIntercept, d.WindowCenter, d.WindowWidth = "CT", 1, -1024, 40, 400
    d.add_new(0x00280120, "US", 0)
    return d


def high_voi_lut():
    """Signed samples that are 0 to 65,535 after rescaling; the table begins at 40,000 of them."""
    d = grey(16, True, "MONOCHROME2")
    del d.WindowCenter, d.WindowWidth
    d.RescaleSlope, d.RescaleIntercept, d.RescaleType = 1, 32768, "US"
    lut = Dataset()
    lut.add_new(0x00283002, "US", [20000, 40000, 16])
    lut.add_new(0x00283006, "OW", (numpy.arange(20000) * 65535 // 19999).astype("<u2").tobytes())
    d.VOILUTSequence = [lut]
    return d


def signed_colour(photometric):
    d = colour(photometric)
    d.PixelRepresentation = 1
    return d


def oblong_pixels():
    d = grey(12, False, "MONOCHROME2", rows=128, columns=256)
    d.PixelAspectRatio = [2, 1]
    return d


def with_more():
    """Attributes that a copy must not lose: private ones behind the pixels, descriptions as long as they may be."""
    d = grey(12, False, "MONOCHROME2")
    d.SeriesDescription = "头颅" + "x" * 62
    d.DerivationDescription = "增强" * 400
    d.private_block(0x0009, "HUTONG TEST", create=True).add_new(1, "LO", "before")
    d.add_new(0x7FE10010, "LO", "HUTONG TEST")
    d.add_new(0x7FE11001, "LO", "behind")
    return d


def padded():
    d = grey(12, True, "MONOCHROME2")
    array = numpy.frombuffer(d.PixelData, "<i2").copy().reshape(256, 256)
    yy, xx = numpy.mgrid[:256, :256]
    array[(yy - 128) ** 2 + (xx - 128) ** 2 > 120 ** 2] = -2000
    d.PixelData = array.tobytes()
    d.add_new(0x00280120, "SS", -2000)
    return d


def shuttered(shape):
    d = grey(12, False, "MONOCHROME2", rows=512, columns=512)
    d.ShutterShape = shape
    if shape == "RECTANGULAR":
        d.ShutterLeftVerticalEdge, d.ShutterRightVerticalEdge = 40, 470
        d.ShutterUpperHorizontalEdge, d.ShutterLowerHorizontalEdge = 60, 480
    else:
        d.CenterOfCircularShutter, d.RadiusOfCircularShutter = [256, 256], 250
    return d


def formats():
    for bits in (8, 10, 12, 16, 32):
        for signed in (False, True):
            for photometric in ("MONOCHROME1", "MONOCHROME2"):
                yield f"grey{bits}{'s' if signed else 'u'}{photometric[-1]}", grey(bits, signed, photometric)
    yield "grey8in16", grey(8, False, "MONOCHROME2", allocated=16)
    yield "grey_high_bit", grey(12, False, "MONOCHROME2", high_bit=15)
    yield "grey_high_bit_signed", grey(12, True, "MONOCHROME2", high_bit=13)
    yield "grey_frames", grey(12, False, "MONOCHROME2", frames=3)
    yield "grey_64", grey(12, False, "MONOCHROME2", rows=64, columns=64)
    yield "grey_large", grey(14, False, "MONOCHROME1", rows=4000, columns=3500)
    yield "grey_oblong", grey(12, False, "MONOCHROME2", rows=128, columns=400)
    for photometric in ("RGB", "YBR_FULL"):
        for planar in (0, 1):
            yield f"{photometric.lower()}_planar{planar}", colour(photometric, planar=planar)
    yield "rgb16", colour("RGB", 16)
    yield "rgb_frames", colour("RGB", frames=2)
    yield "ybr_422", half_rate()
    yield "palette8", palette(8, 16)
    yield "palette8_of_8", palette(8, 8)
    yield "palette16", palette(16, 16)
    yield "palette_first", palette(8, 16, first=0)
    yield "modality_lut", with_tables(True, False)
    yield "voi_lut", with_tables(False, True)
    yield "overlay_plane", overlay(False)
    yield "overlay_in_bits", overlay(True)
    for where, in_bits in (("plane", False), ("bits", True)):
        yield f"overlay_corner_{where}", overlay(in_bits, slice(0, 60), slice(200, 256))
    yield "overlay_corner_frames", overlay_of_frames()
    yield "supplemental_palette", supplemental()
    yield "voi_lut_high", high_voi_lut()
    yield "rgb_signed", signed_colour("RGB")
    yield "ybr_signed", signed_colour("YBR_FULL")
    yield "ybr16_full", colour("YBR_FULL", 16)
    yield "palette_left_behind", left_behind()
    yield "padding_alone", padding_alone()
    yield "oblong_pixels", oblong_pixels()
    yield "with_more", with_more()
    yield "padded", padded()
    yield "shutter_rectangular", shuttered("RECTANGULAR")
    yield "shutter_circular", shuttered("CIRCULAR")


def swapped(data, width):
    return numpy.frombuffer(data, f"<u{width}").astype(f">u{width}").tobytes() if width > 1 else data


def save(d, path, syntax):
    d.file_meta.TransferSyntaxUID = syntax
    big = syntax == NATIVE["be"]
    if big:
        d.PixelData = swapped(d.PixelData, d.BitsAllocated // 8)
        for tables in (d, *d.get("VOILUTSequence", [])):
            for element in tables:
                if element.VR == "OW" and element.keyword != "PixelData":
                    element.value = swapped(element.value, 2)
    pydicom.dcmwrite(path, d, implicit_vr=syntax == NATIVE["implicit"], little_endian=not big, force_encoding=True,
                     enforce_file_format=False)


COMPRESSED = {
    "rle": ["dcmcrle"], "jpegls": ["dcmcjpls"], "jpegls_near": ["dcmcjpls", "+en", "+md", "2"],
    "lossless57": ["dcmcjpeg", "+el"], "lossless70": ["dcmcjpeg", "+e1"],
    "baseline": ["dcmcjpeg", "+eb"], "extended": ["dcmcjpeg", "+ee"], "spectral": ["dcmcjpeg", "+es"], "progressive": ["dcmcjpeg", "+ep"],
    "j2k": ["gdcmconv", "--j2k"], "j2k_lossy": ["gdcmconv", "--j2k", "--lossy"],
}
# What is compressed, and with what the format can be.
TO_COMPRESS = {
    "grey8u2": COMPRESSED, "grey12u2": {k: v for k, v in COMPRESSED.items() if k != "baseline"},
    "grey16u1": {k: COMPRESSED[k] for k in ("rle", "jpegls", "lossless57", "lossless70", "j2k")},
    "grey16s2": {k: COMPRESSED[k] for k in ("rle", "jpegls", "lossless70", "j2k")},
    "grey_frames": {k: COMPRESSED[k] for k in ("rle", "jpegls", "lossless70", "extended", "j2k")},
    "rgb_planar0": {k: v for k, v in COMPRESSED.items() if k not in ("extended", "spectral", "progressive")},
    "rgb_planar1": {k: COMPRESSED[k] for k in ("rle", "lossless70")},
    "ybr_full_planar0": {k: COMPRESSED[k] for k in ("rle", "jpegls", "lossless57", "lossless70", "j2k")},
    "ybr16_full": {k: COMPRESSED[k] for k in ("lossless57", "lossless70")},
    "palette8": {k: COMPRESSED[k] for k in ("rle", "jpegls", "lossless70")},
}


def write(folder):
    for name, d in formats():
        native = folder / f"{name}.le.dcm"
        save(d, native, NATIVE["le"])
        for how, command in TO_COMPRESS.get(name, {}).items():
            subprocess.run([*command, str(native), str(folder / f"{name}.{how}.dcm")], capture_output=True)
        for how in ("implicit", "be", "deflated"):
            if name in ("grey8u2", "grey12s2", "grey16u1", "grey32u2", "rgb_planar1", "rgb16", "palette16", "ybr_422", "grey_frames", "voi_lut"):
                save(pydicom.dcmread(native), folder / f"{name}.{how}.dcm", NATIVE[how])
