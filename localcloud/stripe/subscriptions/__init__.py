"""How subscriptions live: periods, invoices, payments, statuses. The rules, without HTTP."""
