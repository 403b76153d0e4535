//! zlib and zstd for compressed frames. Packers are shared by the connections of a thread, so none costs memory while
//! it is idle.

use std::cell::RefCell;

use bytes::BytesMut;
use flate2::{Compress, Decompress, FlushCompress, FlushDecompress, Status};
use zstd::stream::raw::{DParameter, Decoder as ZstdDecoder, Operation};

use crate::wire::{Compression, Malformed};

/// No frame needs a window larger than all it can hold. A peer that asks for more asks for memory.
const ZSTD_WINDOW_LOG_MAX: u32 = 24;

/// A frame longer than this is packed in haste: the thread has other connections to serve.
const QUICK_LEN: usize = 1 << 20;

/// An unpacker that has held more than this in one frame is not kept.
const KEPT_FRAME_MAX: usize = 1 << 20;

thread_local! {
    static ZLIB_PACKER: RefCell<Option<Compress>> = const { RefCell::new(None) };
    static ZSTD_PACKER: RefCell<Option<(u8, zstd::bulk::Compressor<'static>)>> = const { RefCell::new(None) };
    static ZLIB_UNPACKER: RefCell<Option<Decompress>> = const { RefCell::new(None) };
    static ZSTD_UNPACKER: RefCell<Option<ZstdDecoder<'static>>> = const { RefCell::new(None) };
}

/// Packs `plain` into `out`, in place of what is there. `false`: it would not become shorter.
pub(super) fn pack(compression: Compression, plain: &[u8], out: &mut Vec<u8>) -> bool {
    out.clear();
    let room = plain.len().saturating_sub(1);
    out.reserve_exact(room);
    match compression {
        Compression::Zlib => ZLIB_PACKER.with_borrow_mut(|packer| {
            let mut quick = None;
            let packer = if plain.len() > QUICK_LEN {
                quick.insert(Compress::new(flate2::Compression::fast(), true))
            } else {
                packer.get_or_insert_with(|| Compress::new(flate2::Compression::default(), true))
            };
            packer.reset();
            let packed = packer.compress_vec(plain, out, FlushCompress::Finish);
            matches!(packed, Ok(Status::StreamEnd)) && out.len() <= room
        }),
        Compression::Zstd { level } => ZSTD_PACKER.with_borrow_mut(|packer| {
            if packer.as_ref().is_none_or(|(has, _)| *has != level) {
                *packer = zstd::bulk::Compressor::new(i32::from(level)).ok().map(|made| (level, made));
            }
            let Some((_, packer)) = packer else { return false };
            packer.compress_to_buffer(plain, out).is_ok_and(|len| len <= room)
        }),
    }
}

/// What unpacks one frame, in pieces.
pub(super) enum Unpacker {
    Zlib(Decompress),
    Zstd(ZstdDecoder<'static>),
}

/// How far one step came.
pub(super) struct Step {
    pub(super) read: usize,
    pub(super) written: usize,
    pub(super) ended: bool,
}

impl Unpacker {
    pub(super) fn new(compression: Compression) -> Result<Self, Malformed> {
        Ok(match compression {
            Compression::Zlib => {
                let kept = ZLIB_UNPACKER.take();
                Unpacker::Zlib(kept.unwrap_or_else(|| Decompress::new(true)))
            }
            Compression::Zstd { .. } => Unpacker::Zstd(match ZSTD_UNPACKER.take() {
                Some(kept) => kept,
                None => zstd_decoder().map_err(|_| Malformed("no decoder for a compressed frame"))?,
            }),
        })
    }

    /// Unpacks some of `packed` behind `out`, `room` bytes at most.
    pub(super) fn step(&mut self, packed: &[u8], out: &mut BytesMut, room: usize) -> Result<Step, Malformed> {
        let begin = out.len();
        out.resize(begin + room, 0);
        let step = self.unpack(packed, &mut out[begin..]);
        out.truncate(begin + step.as_ref().map_or(0, |step| step.written));
        step
    }

    fn unpack(&mut self, packed: &[u8], plain: &mut [u8]) -> Result<Step, Malformed> {
        match self {
            Unpacker::Zlib(zlib) => {
                let (read, written) = (zlib.total_in(), zlib.total_out());
                let status = zlib.decompress(packed, plain, FlushDecompress::None);
                let status = status.map_err(|_| Malformed("a frame that does not unpack"))?;
                Ok(Step {
                    read: (zlib.total_in() - read) as usize,
                    written: (zlib.total_out() - written) as usize,
                    ended: status == Status::StreamEnd,
                })
            }
            Unpacker::Zstd(zstd) => {
                let status = zstd.run_on_buffers(packed, plain);
                let status = status.map_err(|_| Malformed("a frame that does not unpack"))?;
                let ended = status.remaining == 0 && status.bytes_read + status.bytes_written > 0;
                Ok(Step { read: status.bytes_read, written: status.bytes_written, ended })
            }
        }
    }

    /// Keeps what can be used for another frame of `len` bytes or so.
    pub(super) fn put_back(self, len: usize) {
        if len > KEPT_FRAME_MAX {
            return;
        }
        match self {
            Unpacker::Zlib(mut zlib) => {
                zlib.reset(true);
                ZLIB_UNPACKER.set(Some(zlib));
            }
            Unpacker::Zstd(mut zstd) => {
                if zstd.reinit().is_ok() {
                    ZSTD_UNPACKER.set(Some(zstd));
                }
            }
        }
    }
}

fn zstd_decoder() -> std::io::Result<ZstdDecoder<'static>> {
    let mut decoder = ZstdDecoder::new()?;
    decoder.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG_MAX))?;
    Ok(decoder)
}
