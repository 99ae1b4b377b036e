import io
import os
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest

from cnnfast import datasets

Image = pytest.importorskip("PIL.Image")


@pytest.fixture
def picture(rng):
    return rng.integers(0, 256, (6, 9, 3), np.uint8)


def encode(image, format="PNG", **options):
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_bomb(width, height):
    """A few bytes that claim to be a huge picture."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


@pytest.mark.parametrize("format", ["PNG", "BMP", "PPM"])
def test_content_decides_the_format(tmp_path, picture, format):
    path = tmp_path / "picture.jpg"
    path.write_bytes(encode(Image.fromarray(picture), format))
    np.testing.assert_array_equal(datasets.load_image(path), picture)


def test_jpeg(tmp_path):
    path = tmp_path / "grey.jpg"
    Image.new("RGB", (20, 10), (200, 100, 50)).save(path, quality=100)
    image = datasets.load_image(path)
    assert image.shape == (10, 20, 3) and np.abs(image.astype(int) - (200, 100, 50)).max() <= 3


def test_grayscale_and_size(tmp_path, picture):
    path = tmp_path / "picture.png"
    Image.fromarray(picture).save(path)
    expected = np.asarray(Image.fromarray(picture).convert("L"))[..., None]
    np.testing.assert_array_equal(datasets.load_image(path, color_mode="grayscale"), expected)
    assert datasets.load_image(path, (3, 5)).shape == (3, 5, 3)
    assert datasets.load_image(path, (3, 5), color_mode="grayscale").shape == (3, 5, 1)


def test_exif_rotation(tmp_path, picture):
    path = tmp_path / "turned.png"
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show rotated by 90 degrees clockwise
    Image.fromarray(picture).save(path, exif=exif)
    np.testing.assert_array_equal(datasets.load_image(path), np.rot90(picture, -1))


def test_16_bit_keeps_the_high_byte(tmp_path):
    levels = np.array([[0, 255, 256, 0x1234, 0xFFFF]], np.uint16)
    Image.fromarray(levels).save(tmp_path / "deep.png")
    image = datasets.load_image(tmp_path / "deep.png", color_mode="grayscale")
    assert image[0, :, 0].tolist() == [0, 0, 1, 0x12, 0xFF]
    (tmp_path / "deep.pgm").write_bytes(b"P5 5 1 65535\n" + levels.astype(">u2").tobytes())
    image = datasets.load_image(tmp_path / "deep.pgm", color_mode="grayscale")
    assert image[0, :, 0].tolist() == [0, 0, 1, 0x12, 0xFF]


def test_palette_with_transparency_is_shown_on_white(tmp_path):
    palette = Image.new("P", (3, 1))
    palette.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    palette.putdata([0, 1, 2])
    palette.save(tmp_path / "palette.png", transparency=1)
    assert datasets.load_image(tmp_path / "palette.png").tolist() == [[[255, 0, 0], [255, 255, 255], [0, 0, 255]]]
    half = Image.new("LA", (1, 1), (0, 128))
    half.save(tmp_path / "half.png")
    assert datasets.load_image(tmp_path / "half.png").tolist() == [[[127, 127, 127]]]


def test_one_bit_and_cmyk(tmp_path):
    Image.new("1", (2, 1), 1).save(tmp_path / "bit.png")
    assert datasets.load_image(tmp_path / "bit.png", color_mode="grayscale").tolist() == [[[255], [255]]]
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "ink.jpg", quality=100)
    red = datasets.load_image(tmp_path / "ink.jpg")[0, 0].astype(int)
    assert np.abs(red - (255, 0, 0)).max() <= 3


def test_animation_gives_its_first_frame_and_a_warning(tmp_path):
    frames = [Image.new("RGB", (4, 4), color) for color in ("red", "blue")]
    frames[0].save(tmp_path / "moving.png", save_all=True, append_images=frames[1:])
    with pytest.warns(UserWarning, match="several frames"):
        assert datasets.load_image(tmp_path / "moving.png")[0, 0].tolist() == [255, 0, 0]


def test_truncated(tmp_path, picture):
    for format in ("PNG", "JPEG", "BMP", "PPM"):
        whole = encode(Image.fromarray(picture), format)
        for length in range(0, len(whole) - 24, 7):  # the last bytes of a PNG hold no pixel
            (tmp_path / "cut").write_bytes(whole[:length])
            with pytest.raises(ValueError, match="cut"):
                datasets.load_image(tmp_path / "cut")


@pytest.mark.parametrize("format", ["GIF", "TIFF", "WEBP", "ICO"])
def test_other_formats_are_refused(tmp_path, picture, format):
    (tmp_path / "picture.png").write_bytes(encode(Image.fromarray(picture), format))
    with pytest.raises(ValueError, match="picture.png.*not a PNG, JPEG, BMP, PPM picture"):
        datasets.load_image(tmp_path / "picture.png")


def test_bombs_are_refused_before_decoding(tmp_path):
    sizes = [(50_000, 50_000), (8_001, 8_000), (9_600, 9_600), (2**31 - 1, 1), (2**31 - 1, 2**31 - 1)]
    for i, size in enumerate(sizes):
        (tmp_path / f"bomb{i}.png").write_bytes(png_bomb(*size))
    (tmp_path / "bomb9.png").write_bytes(b"P6 60000 60000 255\n" + bytes(100))
    code = """if True:
        import glob, resource, sys
        from cnnfast import datasets
        for path in sorted(glob.glob("bomb*")):
            try:
                datasets.load_image(path)
            except ValueError as error:
                assert "max_pixels" in str(error) and path in str(error), error
            else:
                sys.exit(path + " was accepted")
        try:  # ru_maxrss starts at the parent's size; the kernel's high-water mark does not
            with open("/proc/self/status") as status:
                print(next(line.split()[1] for line in status if line.startswith("VmHWM")))
        except OSError:
            print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    unit = 1 if sys.platform == "darwin" else 1024
    assert int(result.stdout) * unit < 512 * 2**20


def test_pixel_limit_can_be_set(tmp_path, picture):
    Image.fromarray(picture).save(tmp_path / "picture.png")
    with pytest.raises(ValueError, match="9 x 6 pixels; the limit is max_pixels=53"):
        datasets.load_image(tmp_path / "picture.png", max_pixels=53)


@pytest.mark.parametrize("image_size, error", [((0, 3), ValueError), ((3,), TypeError), (3, TypeError), ((2.5, 3), TypeError)])
def test_image_size_rule(tmp_path, image_size, error):
    with pytest.raises(error, match="load_folder: image_size must be"):
        datasets.load_folder(tmp_path, image_size)


def test_folder(tmp_path, picture):
    for name in ("dog/b.png", "dog/a.png", "cat/c.png"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(picture + ord(path.stem)).save(path)
    (tmp_path / "dog/.hidden").write_bytes(b"junk")
    (tmp_path / "notes.txt").write_bytes(b"not a class")
    images, labels, class_names = datasets.load_folder(tmp_path, (6, 9))
    assert class_names == ["cat", "dog"] and labels.tolist() == [0, 1, 1] and labels.dtype == np.int64
    np.testing.assert_array_equal(images, np.stack([picture + ord(letter) for letter in "cab"]))
    assert datasets.load_folder(tmp_path, (4, 4), color_mode="grayscale")[0].shape == (3, 4, 4, 1)


def test_folder_mistakes(tmp_path, picture):
    with pytest.raises(ValueError, match="no class folder"):
        datasets.load_folder(tmp_path, (8, 8))
    (tmp_path / "cat").mkdir()
    with pytest.raises(ValueError, match="cat.*no picture"):
        datasets.load_folder(tmp_path, (8, 8))
    (tmp_path / "cat" / "1.png").write_bytes(b"junk")
    with pytest.raises(ValueError, match="1.png"):
        datasets.load_folder(tmp_path, (8, 8))
    with pytest.raises(ValueError, match="color_mode"):
        datasets.load_image(tmp_path / "cat" / "1.png", color_mode="cmyk")
