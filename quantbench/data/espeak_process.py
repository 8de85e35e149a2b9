"""A program of its own: speaks the utterances of a file through eSpeak NG and writes them to standard output.

`python -I espeak_process.py LIBRARY DATA REQUESTS`. eSpeak NG is GPL-3.0 software; this program is the only thing that
loads it, as a tool that makes data, and nothing of quantbench runs in its process. The library keeps random state from
one utterance to the next, so the same bytes come only from a fresh process and the same requests in the same order.

REQUESTS is a JSON list of [voice, text, words per minute, pitch 0..99, pitch range 0..99]. For each, standard output
takes the number of samples as 4 bytes, little-endian, and the samples as int16 at the rate that the first 4 bytes give.
"""

import ctypes
import json
import struct
import sys
from pathlib import Path

# Of espeak-ng's speak_lib.h.
SYNCHRONOUS = 2
RATE, PITCH, RANGE = 1, 3, 4
UTF8 = 1
SEED = 1
OK = 0
CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


def main(library: str, data: str, requests: str) -> None:
    """Speaks every request in turn."""
    engine = ctypes.CDLL(library)
    parts: list[bytes] = []

    def take(samples: object, n: int, _events: object) -> int:
        if samples and n > 0:
            parts.append(ctypes.string_at(samples, 2 * n))  # type: ignore[arg-type]
        return 0

    callback = CALLBACK(take)
    rate = engine.espeak_Initialize(SYNCHRONOUS, 0, data.encode(), 0)
    if rate <= 0:
        sys.exit(f"{data}: eSpeak NG cannot use this data")
    engine.espeak_SetSynthCallback(callback)
    # Breathy voices draw random numbers, which the library would seed differently in each process.
    engine.espeak_ng_SetRandSeed(ctypes.c_long(SEED))
    sys.stdout.buffer.write(struct.pack("<i", rate))
    for voice, text, words_per_minute, pitch, pitch_range in json.loads(Path(requests).read_text(encoding="utf-8")):
        if engine.espeak_SetVoiceByName(voice.encode()) != OK:
            sys.exit(f"eSpeak NG has no voice '{voice}'")
        for parameter, value in ((RATE, words_per_minute), (PITCH, pitch), (RANGE, pitch_range)):
            engine.espeak_SetParameter(parameter, value, 0)
        parts.clear()
        spoken = text.encode() + b"\0"
        engine.espeak_Synth(spoken, len(spoken), 0, 0, 0, UTF8, None, None)
        utterance = b"".join(parts)
        sys.stdout.buffer.write(struct.pack("<i", len(utterance) // 2) + utterance)


if __name__ == "__main__":
    main(*sys.argv[1:])
