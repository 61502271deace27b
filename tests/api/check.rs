//! First contact: `check` says in one sentence what is wrong.
