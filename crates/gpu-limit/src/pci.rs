//! PCI address of a GPU, ordered by value and not by spelling.

use std::fmt;

/// A PCI address. The fields are compared in their order, so a longer domain does not sort before a shorter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PciAddress {
    /// The domain, which virtual machines make longer than four digits.
    pub domain: u32,
    /// The bus.
    pub bus: u8,
    /// The device on the bus.
    pub device: u8,
    /// The function of the device.
    pub function: u8,
}

impl PciAddress {
    /// Reads `domain:bus:device.function`, all hexadecimal.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (rest, function) = text.split_once('.')?;
        let mut parts = rest.split(':');
        let (domain, bus, device) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() {
            return None;
        }
        Some(Self {
            domain: u32::from_str_radix(domain, 16).ok()?,
            bus: u8::from_str_radix(bus, 16).ok()?,
            device: u8::from_str_radix(device, 16).ok()?,
            function: u8::from_str_radix(function, 16).ok()?,
        })
    }

    /// Takes apart the kernel's 16-bit form: bus, five bits of device, three bits of function.
    #[must_use]
    pub fn from_location(domain: u32, location: u16) -> Self {
        let [bus, device_function] = location.to_be_bytes();
        Self { domain, bus, device: device_function >> 3, function: device_function & 0b111 }
    }
}

impl fmt::Display for PciAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:04x}:{:02x}:{:02x}.{:x}", self.domain, self.bus, self.device, self.function)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_ordered_by_value_not_by_spelling() {
        let mut addresses = ["10000:00:00.0", "0000:c1:00.0", "0000:0A:00.0", "9:00:1f.0"]
            .map(|text| PciAddress::parse(text).unwrap());
        addresses.sort_unstable();
        let spelled = addresses.map(|address| address.to_string());
        assert_eq!(spelled, ["0000:0a:00.0", "0000:c1:00.0", "0009:00:1f.0", "10000:00:00.0"]);
    }

    #[test]
    fn what_is_no_address_is_none() {
        for text in ["", "0000:07:00", "0000:07:00.0.0", "0000:07:zz.0", "0:0:0:0.0", "power"] {
            assert_eq!(PciAddress::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn the_kernels_form_is_taken_apart() {
        assert_eq!(PciAddress::from_location(0, 0xc50b).to_string(), "0000:c5:01.3");
    }
}
