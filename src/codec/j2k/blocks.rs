//! Where the precincts and code-blocks of a tile lie, and in which order their packets come (ITU-T T.800 annex B). Geometry only.

use super::header::{Area, Header};

/// A sub-band's part of a precinct.
#[derive(Debug, Clone)]
pub(super) struct Band {
    /// Code-blocks across and down.
    pub blocks: (usize, usize),
    /// Magnitude bits; none where quantised.
    pub bits: Option<u32>,
}

/// A precinct: what one packet of each layer is about.
#[derive(Debug, Clone)]
pub(super) struct Precinct {
    pub component: u32,
    pub resolution: u32,
    /// Of its component and resolution, in raster order.
    pub number: usize,
    /// Its corner on the reference grid.
    pub at: (u64, u64),
    pub bands: Vec<Band>,
}

/// More than any picture has: a header that asks for more is not walked.
pub(super) const MOST_BLOCKS: usize = 1 << 18;

/// The precincts of a tile of so many bytes, in the order of a packet sequence without layers; none for more than could be. All tiles share
/// one budget of blocks.
pub(super) fn precincts(header: &Header, tile: u16, data: usize, budget: &mut usize) -> Option<Vec<Precinct>> {
    let area = tile_area(header, tile)?;
    let mut found = Vec::new();
    let mut blocks = 0usize;
    for (component, one) in (0u32..).zip(&header.components) {
        let own = scaled(area, one.apart);
        for resolution in 0..=header.levels {
            for precinct in of_resolution(header, area, own, component, resolution)? {
                blocks += precinct.bands.iter().map(|b| b.blocks.0 * b.blocks.1).sum::<usize>() + 1;
                // A packet takes a byte at least.
                if blocks > *budget || found.len() > data {
                    return None;
                }
                found.push(precinct);
            }
        }
    }
    *budget = budget.saturating_sub(blocks);
    Some(found)
}

/// The order of packets (B.12.1): pairs of layer and index into the precincts.
pub(super) fn order(header: &Header, precincts: &[Precinct]) -> Option<Vec<(u32, usize)>> {
    let key = |(layer, index): &(u32, usize)| {
        let p = precincts.get(*index)?;
        let (l, r, c, n) = (u64::from(*layer), u64::from(p.resolution), u64::from(p.component), p.number as u64);
        let (x, y) = p.at;
        Some(match header.progression {
            0 => [l, r, c, n, 0, 0],
            1 => [r, l, c, n, 0, 0],
            2 => [r, y, x, c, n, l],
            3 => [y, x, c, r, n, l],
            _ => [c, y, x, r, n, l],
        })
    };
    let packets = precincts.len().checked_mul(header.layers as usize).filter(|n| *n <= MOST_BLOCKS)?;
    let mut order = Vec::with_capacity(packets);
    for layer in 0..header.layers {
        order.extend((0..precincts.len()).map(|index| (layer, index)));
    }
    if header.progression > 4 {
        return None;
    }
    order.sort_by_cached_key(key);
    Some(order)
}

/// B.3: a tile, cut to the image.
fn tile_area(header: &Header, tile: u16) -> Option<Area> {
    let ((width, height), (left, top)) = header.tile;
    let across = (header.image.x.1 - left).div_ceil(width);
    let (column, row) = (u64::from(tile) % across, u64::from(tile) / across);
    let part = |from: u64, size: u64, n: u64, image: (u64, u64)| {
        let begin = from + n * size;
        (begin.max(image.0), (begin + size).min(image.1))
    };
    let area = Area { x: part(left, width, column, header.image.x), y: part(top, height, row, header.image.y) };
    (area.x.0 < area.x.1 && area.y.0 < area.y.1).then_some(area)
}

fn scaled(area: Area, by: (u64, u64)) -> Area {
    let scale = |ends: (u64, u64), by: u64| (ends.0.div_ceil(by), ends.1.div_ceil(by));
    Area { x: scale(area.x, by.0), y: scale(area.y, by.1) }
}

/// B.5 to B.7: the precincts of one resolution of a tile-component.
fn of_resolution(header: &Header, tile: Area, own: Area, component: u32, resolution: u32) -> Option<Vec<Precinct>> {
    let down = header.levels - resolution;
    let area = scaled(own, (1 << down, 1 << down));
    let &(wide, high) = header.precincts.get(resolution as usize)?;
    if resolution > 0 && (wide == 0 || high == 0) {
        return None;
    }
    if area.x.0 >= area.x.1 || area.y.0 >= area.y.1 {
        return Some(Vec::new());
    }
    let apart = header.components.get(component as usize)?.apart;
    let columns = (area.x.0 >> wide)..area.x.1.div_ceil(1 << wide);
    let rows = (area.y.0 >> high)..area.y.1.div_ceil(1 << high);
    if columns.clone().count().checked_mul(rows.clone().count()).is_none_or(|n| n > MOST_BLOCKS) {
        return None;
    }
    let mut found = Vec::new();
    for row in rows {
        for column in columns.clone() {
            let here = Area { x: (column << wide, (column + 1) << wide), y: (row << high, (row + 1) << high) };
            let at = (((here.x.0 << down) * apart.0).max(tile.x.0), ((here.y.0 << down) * apart.1).max(tile.y.0));
            let bands = bands(header, own, here, (component, resolution))?;
            found.push(Precinct { component, resolution, number: found.len(), at, bands });
        }
    }
    Some(found)
}

/// The sub-bands of a precinct that covers `here` of its resolution.
fn bands(header: &Header, own: Area, here: Area, (component, resolution): (u32, u32)) -> Option<Vec<Band>> {
    let &(wide, high) = header.precincts.get(resolution as usize)?;
    let bits = &header.components.get(component as usize)?.bits;
    let lowest = resolution == 0;
    let level = if lowest { header.levels } else { header.levels - resolution + 1 };
    let kinds: &[(u64, u64)] = if lowest { &[(0, 0)] } else { &[(1, 0), (0, 1), (1, 1)] };
    let half = u32::from(!lowest);
    let block = (header.block.0.min(wide - half), header.block.1.min(high - half));
    let part = |ends: (u64, u64), here: (u64, u64), kind: u64, block: u32| {
        // B-15; level is 0 only of an image without decomposition, which has no other band.
        let offset = if level == 0 { 0 } else { kind << (level - 1) };
        let scale = |v: u64| v.saturating_sub(offset).div_ceil(1 << level);
        let (from, to) = (scale(ends.0).max(here.0 >> half), scale(ends.1).min(here.1 >> half));
        if from >= to { 0 } else { to.div_ceil(1 << block) - (from >> block) }
    };
    let band = |(n, kind): (usize, &(u64, u64))| {
        let blocks = (part(own.x, here.x, kind.0, block.0), part(own.y, here.y, kind.1, block.1));
        let index = if lowest { 0 } else { 3 * (resolution as usize - 1) + 1 + n };
        Some(Band {
            blocks: (usize::try_from(blocks.0).ok()?, usize::try_from(blocks.1).ok()?),
            bits: bits.get(index).copied(),
        })
    };
    kinds.iter().enumerate().map(band).collect()
}
