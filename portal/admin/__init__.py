"""The pages of an account's admins, `/admin/ACCOUNT`, one module for each."""
