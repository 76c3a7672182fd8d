//! The shared part of the three programs, which is not counted: a bank that stands for a database
//! pool, and its errors.

use std::{
    fmt,
    sync::{Arc, Mutex},
};

/// Cheap to clone, as a pool is.
#[derive(Clone, Debug, Default)]
pub struct Bank(Arc<Mutex<Accounts>>);

#[derive(Debug, Default)]
struct Accounts {
    busy: usize,
    charged: Vec<(u64, u64)>,
}

impl Bank {
    /// A bank that is busy the first `times` times.
    pub fn busy(times: usize) -> Self {
        let bank = Self::default();
        bank.0.lock().unwrap().busy = times;
        bank
    }

    /// Charges an order, unless it was charged already. An order of 0 cents is declined.
    pub async fn charge(&self, order: u64, cents: u64) -> Result<(), ChargeError> {
        let mut accounts = self.0.lock().unwrap();
        if cents == 0 {
            return Err(ChargeError::Declined);
        }
        if accounts.busy > 0 {
            accounts.busy -= 1;
            return Err(ChargeError::Busy);
        }
        if !accounts
            .charged
            .iter()
            .any(|(charged, _)| *charged == order)
        {
            accounts.charged.push((order, cents));
        }
        Ok(())
    }

    /// What was charged.
    pub fn charged(&self) -> Vec<(u64, u64)> {
        self.0.lock().unwrap().charged.clone()
    }
}

/// Why an order was not charged.
#[derive(Clone, Copy, Debug)]
pub enum ChargeError {
    /// Ask again later.
    Busy,
    /// Never ask again.
    Declined,
}

impl fmt::Display for ChargeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Busy => "the bank is busy",
            Self::Declined => "the card was declined",
        })
    }
}

impl std::error::Error for ChargeError {}
