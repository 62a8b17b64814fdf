package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/prairielambda/prairielambda/internal/cli"
	"github.com/prairielambda/prairielambda/scheduler/token"
)

func tokenCommand() *cli.Command {
	return &cli.Command{
		Name:  "token",
		Short: "make, list and revoke the tokens that let callers in",
		Sub:   []*cli.Command{createToken(), listTokens(), revokeTokens()},
	}
}

func tokensFlag(fs *flag.FlagSet, file *string) {
	fs.StringVar(file, "tokens", "", "tokens file; gateways read it again when it changes")
}

func needFile(file string) error {
	if file == "" {
		return cli.Usagef("--tokens FILE is missing")
	}
	return nil
}

func createToken() *cli.Command {
	var file string
	var scopes cli.Strings
	expires := cli.Duration(90 * 24 * time.Hour)
	return &cli.Command{
		Name:  "create",
		Short: "make a token and print its secret, this once",
		Long: `A scope is VERB:COURSE, as in invoke:tam212. Verbs are invoke, files, session,
run, grade, metrics and purge; * stands for all verbs or all courses. The file
keeps a hash; the secret is printed once and cannot be shown again.`,
		Flags: func(fs *flag.FlagSet) {
			tokensFlag(fs, &file)
			fs.Var(&scopes, "scope", "what the token allows; may be given several times")
			fs.Var(&expires, "expires", "how long it is valid; 0s means for ever")
		},
		Run: func(_ context.Context, env *cli.Env, _ []string) error {
			if err := needFile(file); err != nil {
				return err
			}
			now, end := time.Now(), time.Time{}
			if expires > 0 {
				end = now.Add(time.Duration(expires))
			}
			secret, t, err := token.New(scopes, now, end)
			if err != nil {
				return cli.Usagef("%v", err)
			}
			err = token.Edit(file, func(f *token.File) error {
				f.Tokens = append(f.Tokens, t)
				return nil
			})
			if err != nil {
				return err
			}
			fmt.Fprintln(env.Stdout, secret)
			return nil
		},
	}
}

func listTokens() *cli.Command {
	var file string
	var asJSON bool
	return &cli.Command{
		Name:  "ls",
		Short: "list tokens; secrets are not in the file",
		Flags: func(fs *flag.FlagSet) {
			tokensFlag(fs, &file)
			fs.BoolVar(&asJSON, "json", false, "print JSON")
		},
		Run: func(_ context.Context, env *cli.Env, _ []string) error {
			if err := needFile(file); err != nil {
				return err
			}
			f, err := token.List(file)
			if err != nil {
				return err
			}
			if asJSON {
				for i := range f.Tokens {
					f.Tokens[i].Hash = ""
				}
				return json.NewEncoder(env.Stdout).Encode(f)
			}
			w := tabwriter.NewWriter(env.Stdout, 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "ID\tSCOPES\tCREATED\tEXPIRES")
			for _, t := range f.Tokens {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", t.ID, strings.Join(t.Scopes, ","), t.Created.Format(time.DateOnly), expiry(t))
			}
			for _, p := range f.Public {
				fmt.Fprintf(w, "public:%s\t%s\t\t%s\n", p.ID, strings.Join(p.Verbs, ","), strings.Join(p.Origins, " "))
			}
			return w.Flush()
		},
	}
}

func expiry(t token.Token) string {
	switch {
	case t.Expires.IsZero():
		return "never"
	case time.Now().After(t.Expires):
		return "expired"
	}
	return t.Expires.Format(time.DateOnly)
}

func revokeTokens() *cli.Command {
	var file string
	return &cli.Command{
		Name:  "revoke",
		Usage: "ID...",
		Short: "take tokens back; running gateways notice within a second",
		Flags: func(fs *flag.FlagSet) { tokensFlag(fs, &file) },
		Run: func(_ context.Context, _ *cli.Env, ids []string) error {
			if err := needFile(file); err != nil {
				return err
			}
			if len(ids) == 0 {
				return cli.Usagef("name the tokens to revoke; see scheduler token ls")
			}
			return token.Edit(file, func(f *token.File) error {
				for _, id := range ids {
					n := len(f.Tokens)
					f.Tokens = slices.DeleteFunc(f.Tokens, func(t token.Token) bool { return t.ID == id })
					if len(f.Tokens) == n {
						return fmt.Errorf("no token %q; nothing was revoked", id)
					}
				}
				return nil
			})
		},
	}
}
