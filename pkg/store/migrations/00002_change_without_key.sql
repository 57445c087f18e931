-- +goose Up

-- To check the foreign key was a fifth of the time of a delta: it was done for each of 75,000 rows that one statement wrote with the
-- number of a batch that the same transaction had just made. Who removes batches removes their rows first, see collect.go.
ALTER TABLE change DROP CONSTRAINT change_batch_id_fkey;
