package preview

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"sync"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite", without cgo

	"github.com/prairielambda/prairielambda/scheduler/question"
)

// store keeps variants and submissions, so that a reload and a restart do. It
// is safe for concurrent use, also by two servers of one course.
type store struct{ db *sql.DB }

const schema = `
CREATE TABLE IF NOT EXISTS variants (
	id INTEGER PRIMARY KEY, qid TEXT NOT NULL, version TEXT NOT NULL, seed INTEGER NOT NULL, created INTEGER NOT NULL,
	body TEXT NOT NULL, UNIQUE (qid, version, seed));
CREATE TABLE IF NOT EXISTS submissions (
	id INTEGER PRIMARY KEY, variant INTEGER NOT NULL REFERENCES variants(id) ON DELETE CASCADE, created INTEGER NOT NULL, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS closed (variant INTEGER PRIMARY KEY REFERENCES variants(id) ON DELETE CASCADE);
CREATE INDEX IF NOT EXISTS submissions_of ON submissions (variant);
CREATE INDEX IF NOT EXISTS variants_of ON variants (qid, id);`

// KeepFor is how long a variant is remembered; its version must be there as long.
const KeepFor = 60 * 24 * time.Hour

func openStore(ctx context.Context, file string) (*store, error) {
	dsn := "file:" + url.PathEscape(file) + "?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=foreign_keys(1)&_pragma=synchronous(NORMAL)"
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", file, err)
	}
	for _, q := range []string{schema, fmt.Sprintf("DELETE FROM variants WHERE created < %d", time.Now().Add(-KeepFor).Unix())} {
		if _, err := db.ExecContext(ctx, q); err != nil {
			db.Close()
			return nil, fmt.Errorf("open %s: %w", file, err)
		}
	}
	return &store{db}, nil
}

func (s *store) close() error { return s.db.Close() }

// variant is a kept question.Variant.
type variant struct {
	ID      int64
	QID     string
	Version string
	Created time.Time
	Closed  bool // takes no answers any more
	*question.Variant
}

// submission is a kept question.Submission.
type submission struct {
	ID      int64
	Created time.Time
	*question.Submission
}

const selectVariant = `SELECT id, qid, version, created, body, EXISTS (SELECT 1 FROM closed WHERE variant = variants.id) FROM variants `

func (s *store) scan(row *sql.Row) (*variant, error) {
	v := &variant{Variant: &question.Variant{}}
	var created int64
	var body []byte
	err := row.Scan(&v.ID, &v.QID, &v.Version, &created, &body, &v.Closed)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err == nil {
		err = json.Unmarshal(body, v.Variant)
	}
	if err != nil {
		return nil, fmt.Errorf("read a variant: %w", err)
	}
	v.Created = time.Unix(created, 0)
	return v, nil
}

// byID, bySeed and last return nil where there is no such variant.
func (s *store) byID(ctx context.Context, id int64) (*variant, error) {
	return s.scan(s.db.QueryRowContext(ctx, selectVariant+`WHERE id = ?`, id))
}

func (s *store) bySeed(ctx context.Context, qid, version string, seed uint32) (*variant, error) {
	return s.scan(s.db.QueryRowContext(ctx, selectVariant+`WHERE qid = ? AND version = ? AND seed = ?`, qid, version, seed))
}

func (s *store) last(ctx context.Context, qid string) (*variant, error) {
	return s.scan(s.db.QueryRowContext(ctx, selectVariant+`WHERE qid = ? ORDER BY id DESC LIMIT 1`, qid))
}

// keep stores a variant; of two that were made at once the first stays.
func (s *store) keep(ctx context.Context, qid, version string, v *question.Variant) (*variant, error) {
	body, err := json.Marshal(v)
	if err == nil {
		_, err = s.db.ExecContext(ctx, `INSERT INTO variants (qid, version, seed, created, body) VALUES (?, ?, ?, ?, ?)
			ON CONFLICT DO NOTHING`, qid, version, v.Seed, time.Now().Unix(), body)
	}
	if err != nil {
		return nil, fmt.Errorf("keep a variant: %w", err)
	}
	return s.bySeed(ctx, qid, version, v.Seed)
}

// submit stores a submission and returns its number.
func (s *store) submit(ctx context.Context, variant int64, sub *question.Submission) (id int64, err error) {
	var res sql.Result
	body, err := json.Marshal(sub)
	if err == nil {
		res, err = s.db.ExecContext(ctx, `INSERT INTO submissions (variant, created, body) VALUES (?, ?, ?)`, variant, time.Now().Unix(), body)
	}
	if err == nil {
		id, err = res.LastInsertId()
	}
	if err != nil {
		return 0, fmt.Errorf("keep a submission: %w", err)
	}
	return id, nil
}

// change stores what became of a submission.
func (s *store) change(ctx context.Context, id int64, sub *question.Submission) error {
	body, err := json.Marshal(sub)
	if err == nil {
		_, err = s.db.ExecContext(ctx, `UPDATE submissions SET body = ? WHERE id = ?`, body, id)
	}
	if err != nil {
		return fmt.Errorf("keep a submission: %w", err)
	}
	return nil
}

// variantOf returns a submission's variant, or nil where there is none of that number.
func (s *store) variantOf(ctx context.Context, submission int64) (*variant, error) {
	return s.scan(s.db.QueryRowContext(ctx, selectVariant+`WHERE id = (SELECT variant FROM submissions WHERE id = ?)`, submission))
}

// setClosed closes a variant or opens it.
func (s *store) setClosed(ctx context.Context, id int64, closed bool) error {
	q := `DELETE FROM closed WHERE variant = ?`
	if closed {
		q = `INSERT INTO closed (variant) VALUES (?) ON CONFLICT DO NOTHING`
	}
	if _, err := s.db.ExecContext(ctx, q, id); err != nil {
		return fmt.Errorf("close a variant: %w", err)
	}
	return nil
}

// submission returns one, or nil where there is none of that number.
func (s *store) submission(ctx context.Context, id int64) (*question.Submission, error) {
	var body []byte
	err := s.db.QueryRowContext(ctx, `SELECT body FROM submissions WHERE id = ?`, id).Scan(&body)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	sub := &question.Submission{}
	if err == nil {
		err = json.Unmarshal(body, sub)
	}
	if err != nil {
		return nil, fmt.Errorf("read a submission: %w", err)
	}
	return sub, nil
}

// submissions lists a variant's submissions, oldest first.
func (s *store) submissions(ctx context.Context, variant int64) (all []submission, err error) {
	rows, err := s.db.QueryContext(ctx, `SELECT id, created, body FROM submissions WHERE variant = ? ORDER BY id`, variant)
	if err != nil {
		return nil, fmt.Errorf("read submissions: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		sub := submission{Submission: &question.Submission{}}
		var created int64
		var body []byte
		err := rows.Scan(&sub.ID, &created, &body)
		if err == nil {
			err = json.Unmarshal(body, sub.Submission)
		}
		if err != nil {
			return nil, fmt.Errorf("read submissions: %w", err)
		}
		sub.Created = time.Unix(created, 0)
		all = append(all, sub)
	}
	return all, rows.Err()
}

// earlier lists variants of a question that were answered on other versions.
func (s *store) earlier(ctx context.Context, qid, version string) (all []variant, err error) {
	rows, err := s.db.QueryContext(ctx, `SELECT id, version, created, seed FROM variants WHERE qid = ? AND version <> ?
		AND EXISTS (SELECT 1 FROM submissions WHERE variant = variants.id) ORDER BY id DESC LIMIT 8`, qid, version)
	if err != nil {
		return nil, fmt.Errorf("read variants: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		v := variant{QID: qid, Variant: &question.Variant{}}
		var created int64
		if err := rows.Scan(&v.ID, &v.Version, &created, &v.Seed); err != nil {
			return nil, fmt.Errorf("read variants: %w", err)
		}
		v.Created = time.Unix(created, 0)
		all = append(all, v)
	}
	return all, rows.Err()
}

// keyed is a mutex per key: two tabs that answer one variant take turns.
type keyed struct {
	mu   sync.Mutex // guards held
	held map[int64]*turn
}

type turn struct {
	sync.Mutex
	users int
}

func (k *keyed) lock(id int64) (unlock func()) {
	k.mu.Lock()
	if k.held == nil {
		k.held = map[int64]*turn{}
	}
	t := k.held[id]
	if t == nil {
		t = &turn{}
		k.held[id] = t
	}
	t.users++
	k.mu.Unlock()
	t.Lock()
	return func() {
		t.Unlock()
		k.mu.Lock()
		defer k.mu.Unlock()
		if t.users--; t.users == 0 {
			delete(k.held, id)
		}
	}
}
