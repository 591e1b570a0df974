//! Figures computed from the ledger and the daily equity.
