//! The calendar: seconds since 1970 as a date of UTC, for printing.

/// A date of UTC.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Civil {
    /// Of the common era.
    pub year: u64,
    /// 1 is January.
    pub month: u64,
    /// Of the month, from 1.
    pub day: u64,
    /// 0 is Sunday.
    pub weekday: u64,
    /// 0 to 23.
    pub hour: u64,
    /// 0 to 59.
    pub minute: u64,
    /// 0 to 59.
    pub second: u64,
}

impl Civil {
    /// From seconds since 1970: whole eras of 400 years, years begin in March.
    #[must_use]
    pub fn of(unix_seconds: u64) -> Self {
        let (days, rest) = (unix_seconds / 86_400, unix_seconds % 86_400);
        let shifted = days + 719_468;
        let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
        let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let march_month = (5 * day_of_year + 2) / 153;
        let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
        Self {
            year: era * 400 + year_of_era + u64::from(month <= 2),
            month,
            day: day_of_year - (153 * march_month + 2) / 5 + 1,
            weekday: (days + 4) % 7,
            hour: rest / 3_600,
            minute: rest % 3_600 / 60,
            second: rest % 60,
        }
    }

    /// Seconds since 1970 of midnight on a day of the common era; the month from 1 to 12.
    #[must_use]
    pub fn midnight(year: u16, month: u8, day: u8) -> i64 {
        let (month, day) = (i64::from(month), i64::from(day));
        let years = i64::from(year) - i64::from(month <= 2);
        let (era, year_of_era) = (years.div_euclid(400), years.rem_euclid(400));
        let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        (era * 146_097 + day_of_era - 719_468) * 86_400
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_dates() {
        let at = |seconds| {
            let c = Civil::of(seconds);
            [c.year, c.month, c.day, c.weekday, c.hour, c.minute, c.second]
        };
        assert_eq!(at(0), [1970, 1, 1, 4, 0, 0, 0]);
        assert_eq!(at(951_782_400), [2000, 2, 29, 2, 0, 0, 0]);
        assert_eq!(at(4_107_542_399), [2100, 2, 28, 0, 23, 59, 59]);
    }

    #[test]
    fn midnights_are_found_again() {
        assert_eq!(Civil::midnight(1970, 1, 1), 0);
        assert_eq!(Civil::midnight(2036, 2, 7), 2_085_955_200);
        for (year, month, day) in [(2000, 2, 29), (2100, 2, 28), (2016, 12, 31), (2024, 3, 1), (1999, 1, 31)] {
            let c = Civil::of(u64::try_from(Civil::midnight(year, month, day)).unwrap());
            assert_eq!((c.year, c.month, c.day, c.hour, c.minute, c.second), (year.into(), month.into(), day.into(), 0, 0, 0));
        }
    }
}
