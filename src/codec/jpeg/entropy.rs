//! The blocks of a scan (T.81 annexes F and G).

use super::huffman::{Bits, Table};
use super::{Broken, Spectrum};

/// Where the coefficients of a scan stand in a block (T.81 figure A.6).
pub const ZIGZAG: [usize; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21, 28, 35,
    42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
];

/// Decodes what a scan says of one block.
///
/// # Errors
/// The bits are no such block.
pub fn scan_block(
    bits: &mut Bits<'_>,
    block: &mut [i32; 64],
    dc: Option<&Table>,
    ac: Option<&Table>,
    spectrum: Spectrum,
    before: &mut i32,
    ended: &mut u32,
) -> Result<(), Broken> {
    let Spectrum { first, last, high, low, progressive } = spectrum;
    if first == 0 {
        let [zeroth, ..] = block;
        if high == 0 {
            let size = u32::from(bits.symbol(dc)?);
            *before = before.wrapping_add(bits.signed(size)?).clamp(-(1 << 20), 1 << 20);
            *zeroth = *before << if progressive { low } else { 0 };
        } else {
            *zeroth |= bits.bit()?.cast_signed() << low;
        }
    }
    match (progressive, high) {
        (false, _) => sequential(bits, block, ac),
        (true, _) if first == 0 => Ok(()),
        (true, 0) => first_pass(bits, block, ac, first..=last, low, ended),
        (true, _) => refine(bits, block, ac, (first, last), low, ended),
    }
}

fn put(block: &mut [i32; 64], k: usize, value: i32) -> Result<(), Broken> {
    let slot = ZIGZAG.get(k).and_then(|place| block.get_mut(*place)).ok_or(Broken::Code)?;
    *slot = value;
    Ok(())
}

fn sequential(bits: &mut Bits<'_>, block: &mut [i32; 64], ac: Option<&Table>) -> Result<(), Broken> {
    let mut k = 1;
    while k < 64 {
        let symbol = bits.symbol(ac)?;
        let (run, size) = (usize::from(symbol >> 4), u32::from(symbol & 15));
        if size == 0 {
            if run != 15 {
                break;
            }
            k += 16;
            continue;
        }
        k += run;
        let value = bits.signed(size)?;
        put(block, k, value)?;
        k += 1;
    }
    Ok(())
}

/// The first scan of a band (G.1.2.2).
fn first_pass(
    bits: &mut Bits<'_>,
    block: &mut [i32; 64],
    ac: Option<&Table>,
    band: std::ops::RangeInclusive<usize>,
    low: u32,
    ended: &mut u32,
) -> Result<(), Broken> {
    if *ended > 0 {
        *ended -= 1;
        return Ok(());
    }
    let mut k = *band.start();
    while k <= *band.end() {
        let symbol = bits.symbol(ac)?;
        let (run, size) = (usize::from(symbol >> 4), u32::from(symbol & 15));
        if size == 0 {
            if run < 15 {
                *ended = end_of_band(bits, run)? - 1;
                break;
            }
            k += 16;
            continue;
        }
        k += run;
        let value = bits.signed(size)? << low;
        put(block, k, value)?;
        k += 1;
    }
    Ok(())
}

fn end_of_band(bits: &mut Bits<'_>, run: usize) -> Result<u32, Broken> {
    let run = u32::try_from(run).unwrap_or(14);
    Ok((1 << run) + bits.bits(run)?.cast_unsigned())
}

/// A further bit of a band (G.1.2.3).
fn refine(
    bits: &mut Bits<'_>,
    block: &mut [i32; 64],
    ac: Option<&Table>,
    (first, last): (usize, usize),
    low: u32,
    ended: &mut u32,
) -> Result<(), Broken> {
    let mut k = first;
    if *ended == 0 {
        while k <= last {
            let symbol = bits.symbol(ac)?;
            let (run, size) = (usize::from(symbol >> 4), symbol & 15);
            let value = match size {
                0 if run < 15 => {
                    *ended = end_of_band(bits, run)?;
                    break;
                }
                0 => 0,
                1 => {
                    if bits.bit()? == 1 {
                        1 << low
                    } else {
                        -(1 << low)
                    }
                }
                _ => return Err(Broken::Code),
            };
            k = correct(bits, block, k..=last, run, low)?;
            if value != 0 && k <= last {
                put(block, k, value)?;
            }
            k += 1;
        }
    }
    if *ended > 0 {
        correct(bits, block, k..=last, 64, low)?;
        *ended -= 1;
    }
    Ok(())
}

/// Gives a bit more to each coefficient that is known to be not zero, until `zeros` others were passed; says where the next one is.
fn correct(
    bits: &mut Bits<'_>,
    block: &mut [i32; 64],
    band: std::ops::RangeInclusive<usize>,
    mut zeros: usize,
    low: u32,
) -> Result<usize, Broken> {
    let end = *band.end() + 1;
    for k in band {
        let slot = ZIGZAG.get(k).and_then(|place| block.get_mut(*place)).ok_or(Broken::Code)?;
        if *slot == 0 {
            if zeros == 0 {
                return Ok(k);
            }
            zeros -= 1;
        } else if bits.bit()? == 1 && *slot & (1 << low) == 0 {
            *slot += if *slot > 0 { 1 << low } else { -(1 << low) };
        }
    }
    Ok(end)
}
