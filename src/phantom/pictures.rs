//! The samples of phantoms: ellipses with noise, enough to look like what they stand for.
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "pictures: every value is clamped to its range before it is stored"
)]

/// A repeatable value between -1 and 1 for a pixel.
fn noise(x: u32, y: u32, seed: u32) -> f32 {
    let mut h = x.wrapping_mul(0x9E37_79B1) ^ y.wrapping_mul(0x85EB_CA77) ^ seed.wrapping_mul(0xC2B2_AE3D);
    h ^= h >> 15;
    h = h.wrapping_mul(0x2C1B_3C6D);
    h ^= h >> 12;
    (h & 0xFFFF) as f32 / 32768.0 - 1.0
}

/// Below 1 inside the ellipse, 1 on it.
fn ellipse(u: f32, v: f32, cu: f32, cv: f32, ru: f32, rv: f32) -> f32 {
    let (a, b) = ((u - cu) / ru, (v - cv) / rv);
    a * a + b * b
}

/// 1 well inside, 0 well outside, soft between.
fn soft(e: f32, width: f32) -> f32 {
    ((1.0 - e) / width + 0.5).clamp(0.0, 1.0)
}

fn paint(columns: u32, rows: u32, value: impl Fn(f32, f32, u32, u32) -> f32, max: f32) -> Vec<u16> {
    let mut out = Vec::with_capacity((columns * rows) as usize);
    for y in 0..rows {
        let v = y as f32 / rows as f32 * 2.0 - 1.0;
        for x in 0..columns {
            let u = x as f32 / columns as f32 * 2.0 - 1.0;
            out.push(value(u, v, x, y).clamp(0.0, max).round() as u16);
        }
    }
    out
}

/// A chest from behind: lungs, heart, spine, ribs. 12 bits.
pub fn chest_pa(columns: u32, rows: u32) -> Vec<u16> {
    let value = |u: f32, v: f32, x: u32, y: u32| {
        let body = soft(ellipse(u, v, 0.0, 0.35, 0.92, 1.25), 0.15);
        let lungs = soft(ellipse(u, v, -0.40, -0.05, 0.30, 0.62), 0.25).max(soft(ellipse(u, v, 0.40, -0.05, 0.30, 0.62), 0.25));
        let heart = soft(ellipse(u, v, 0.10, 0.28, 0.30, 0.30), 0.3);
        let spine = soft((u / 0.07).powi(2), 0.6);
        let arc = (v * 14.0 + u.abs() * 5.0).sin();
        let ribs = if arc > 0.75 { 0.35 * (arc - 0.75) / 0.25 } else { 0.0 };
        let density = body * (0.62 - 0.42 * lungs * (1.0 - 0.85 * heart) + 0.16 * spine + 0.16 * ribs);
        250.0 + 3300.0 * density + 28.0 * noise(x, y, 1)
    };
    paint(columns, rows, value, 4095.0)
}

/// A chest from the side. 12 bits.
pub fn chest_lateral(columns: u32, rows: u32) -> Vec<u16> {
    let value = |u: f32, v: f32, x: u32, y: u32| {
        let body = soft(ellipse(u, v, 0.0, 0.3, 0.75, 1.25), 0.15);
        let lung = soft(ellipse(u, v, 0.05, -0.05, 0.50, 0.68), 0.25);
        let heart = soft(ellipse(u, v, -0.20, 0.25, 0.25, 0.28), 0.3);
        let spine = soft(((u - 0.42 - 0.1 * v) / 0.09).powi(2), 0.6) * (0.8 + 0.2 * (v * 26.0).sin());
        let density = body * (0.66 - 0.38 * lung * (1.0 - 0.8 * heart) + 0.18 * spine);
        250.0 + 3300.0 * density + 28.0 * noise(x, y, 2)
    };
    paint(columns, rows, value, 4095.0)
}

/// A joint between two bones. 12 bits.
pub fn joint(columns: u32, rows: u32, lateral: bool) -> Vec<u16> {
    let shift = if lateral { 0.12 } else { 0.0 };
    let value = |u: f32, v: f32, x: u32, y: u32| {
        let limb = soft((u / 0.62).powi(2), 0.2);
        let shaft = soft(((u - shift * v) / (0.17 + 0.16 * (1.0 - v.abs()).powi(3))).powi(2), 0.25);
        let gap = 1.0 - soft((v / 0.025).powi(2), 0.5);
        250.0 + 3000.0 * limb * (0.30 + 0.45 * shaft * gap) + 30.0 * noise(x, y, 3)
    };
    paint(columns, rows, value, 4095.0)
}

/// HU plus 1024, as CT stores it.
fn hounsfield(hu: f32) -> f32 {
    hu + 1024.0
}

/// An axial slice of a head; `z` runs from 0 at the base to 1 at the top. 12 bits, intercept -1024.
pub fn ct_head(size: u32, z: f32, seed: u32) -> Vec<u16> {
    let scale = (1.0 - (z - 0.35).abs().powi(2) * 0.9).max(0.35);
    let value = |u: f32, v: f32, x: u32, y: u32| {
        let outer = ellipse(u, v, 0.0, 0.0, 0.62 * scale, 0.78 * scale);
        let inner = ellipse(u, v, 0.0, 0.0, 0.56 * scale, 0.72 * scale);
        let ventricle = ellipse(u.abs(), v, 0.09, -0.05, 0.06 * scale, 0.20 * scale);
        let grain = 6.0 * noise(x, y, seed);
        let hu = if outer > 1.06 {
            -1000.0 + grain
        } else if outer > 1.0 {
            40.0 + grain
        } else if inner > 1.0 {
            1150.0 + 4.0 * grain
        } else if ventricle < 1.0 && (0.3..0.75).contains(&z) {
            6.0 + grain
        } else {
            let cortex = if inner > 0.72 { 4.0 * (u * 30.0).sin() * (v * 26.0).cos() } else { 0.0 };
            34.0 + cortex + grain
        };
        hounsfield(hu)
    };
    paint(size, size, value, 4095.0)
}

/// An axial slice of a chest; contrast lights the vessels up. 12 bits, intercept -1024.
pub fn ct_chest(size: u32, z: f32, contrast: bool, seed: u32) -> Vec<u16> {
    let lung = 0.5 + 0.5 * (std::f32::consts::PI * z).sin();
    let blood = if contrast { 260.0 } else { 42.0 };
    let value = |u: f32, v: f32, x: u32, y: u32| {
        let body = ellipse(u, v, 0.0, 0.0, 0.80, 0.58);
        let lungs = ellipse(u.abs(), v, 0.38, -0.04, 0.26 * lung, 0.40 * lung);
        let heart = ellipse(u, v, 0.10, -0.12, 0.20, 0.19);
        let aorta = ellipse(u, v, 0.10, 0.16, 0.055, 0.06);
        let spine = ellipse(u, v, 0.0, 0.36, 0.09, 0.10);
        let rib = (body - 0.86).abs() < 0.03 && ((u.atan2(v) * 9.0 + z * 20.0).sin() > 0.55);
        let vessels = ((u * 43.0).sin() * (v * 39.0).sin()).abs() > 0.985;
        let grain = 11.0 * noise(x, y, seed);
        let hu = if body > 1.0 {
            -1000.0 + grain
        } else if spine < 1.0 || rib {
            480.0 + grain
        } else if aorta < 1.0 || (heart < 1.0 && z < 0.6) {
            blood + grain
        } else if lungs < 1.0 {
            (if vessels { blood.min(120.0) } else { -860.0 }) + grain
        } else if body > 0.84 {
            -95.0 + grain
        } else {
            52.0 + grain
        };
        hounsfield(hu)
    };
    paint(size, size, value, 4095.0)
}

/// What an MR sequence shows light.
#[derive(Debug, Clone, Copy)]
pub struct Weighting {
    /// Marrow and fat.
    pub fat: f32,
    /// Liquor and discs.
    pub water: f32,
}

/// A sagittal slice of a lumbar spine; `z` from 0 to 1 across the body. 12 bits.
pub fn mr_spine_sagittal(size: u32, z: f32, weighting: Weighting, seed: u32) -> Vec<u16> {
    let middle = soft(((z - 0.5) / 0.28).powi(2), 0.8);
    let value = |u: f32, v: f32, x: u32, y: u32| {
        let body = soft(ellipse(u, v, 0.0, 0.0, 0.9, 1.15), 0.1);
        let curve = u - 0.12 * (v * 1.6).cos() + 0.05;
        let column = soft((curve / 0.15).powi(2), 0.3) * middle;
        let level = ((v + 1.0) * 4.2).fract();
        let disc = if level < 0.16 { 1.0 } else { 0.0 };
        let canal = soft(((curve - 0.27) / 0.055).powi(2), 0.4) * middle;
        let fat = soft(((u - 0.78) / 0.12).powi(2), 0.5);
        let signal = 0.16
            + fat * weighting.fat * 0.8
            + column * ((1.0 - disc) * weighting.fat * 0.55 + disc * weighting.water * 0.6)
            + canal * weighting.water * 0.9;
        40.0 + body * 1500.0 * signal + 22.0 * noise(x, y, seed)
    };
    paint(size, size, value, 4095.0)
}

/// An axial slice at a disc. 12 bits.
pub fn mr_spine_axial(size: u32, z: f32, weighting: Weighting, seed: u32) -> Vec<u16> {
    let value = |u: f32, v: f32, x: u32, y: u32| {
        let body = soft(ellipse(u, v, 0.0, 0.0, 0.88, 0.66), 0.1);
        let disc = soft(ellipse(u, v, 0.0, -0.02, 0.24, 0.18 + 0.02 * (z * 9.0).sin()), 0.2);
        let canal = soft(ellipse(u, v, 0.0, 0.24, 0.10, 0.06), 0.3);
        let muscle = soft(ellipse(u.abs(), v, 0.30, 0.40, 0.20, 0.15), 0.3);
        let rim = soft((ellipse(u, v, 0.0, 0.0, 0.88, 0.66) - 0.93).abs() / 0.05, 0.5);
        let signal =
            0.15 + rim * weighting.fat * 0.7 + disc * weighting.water * 0.45 + canal * weighting.water * 0.9 + muscle * 0.12;
        40.0 + body * 1500.0 * signal + 22.0 * noise(x, y, seed)
    };
    paint(size, size, value, 4095.0)
}
