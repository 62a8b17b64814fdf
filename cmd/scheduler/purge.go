package main

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"time"

	"github.com/prairielambda/prairielambda/internal/cli"
)

func purgeCommand() *cli.Command {
	gateway, secret := "http://127.0.0.1:7300", ""
	return &cli.Command{
		Name:  "purge",
		Short: "make a running gateway forget every kept result, and its workers every completed run",
		Flags: func(fs *flag.FlagSet) {
			fs.StringVar(&gateway, "gateway", gateway, "base URL of the gateway")
			fs.StringVar(&secret, "token", "", "token with the scope purge:*")
		},
		Run: func(ctx context.Context, _ *cli.Env, _ []string) error {
			ctx, cancel := context.WithTimeout(ctx, time.Minute)
			defer cancel()
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, gateway+"/purge", nil)
			if err != nil {
				return cli.Usagef("--gateway: %v", err)
			}
			if secret != "" {
				req.Header.Set("Authorization", "Bearer "+secret)
			}
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				return cli.WithCode(cli.ExitUnavailable, err)
			}
			res.Body.Close()
			if res.StatusCode != http.StatusNoContent {
				return fmt.Errorf("the gateway answered %s", res.Status)
			}
			return nil
		},
	}
}
