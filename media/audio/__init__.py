"""Audio kernels: codecs, jitter buffer, levels, mixing. Samples are float32 at 48 kHz, frames 960 samples, unless said otherwise."""
