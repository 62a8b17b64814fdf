package main

import (
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"net"
	"os"

	"github.com/prairielambda/prairielambda/internal/cli"
)

type tlsFlags struct{ cert, key, clientCA string }

func (f *tlsFlags) register(fs *flag.FlagSet) {
	fs.StringVar(&f.cert, "tls-cert", "", "PEM file with the certificate chain; with it the gateway speaks TLS only")
	fs.StringVar(&f.key, "tls-key", "", "PEM file with the certificate's key")
	fs.StringVar(&f.clientCA, "tls-client-ca", "", "PEM file with the authorities that callers' certificates must come from")
}

// wrap returns ln under TLS, or ln itself when no certificate is given.
func (f *tlsFlags) wrap(ln net.Listener) (net.Listener, string, error) {
	if f.cert == "" && f.key == "" && f.clientCA == "" {
		return ln, "http", nil
	}
	if f.cert == "" || f.key == "" {
		return nil, "", cli.Usagef("--tls-cert and --tls-key go together, and --tls-client-ca needs both")
	}
	pair, err := tls.LoadX509KeyPair(f.cert, f.key)
	if err != nil {
		return nil, "", fmt.Errorf("certificate: %w", err)
	}
	cfg := &tls.Config{
		Certificates: []tls.Certificate{pair},
		NextProtos:   []string{"h2", "http/1.1"},
		MinVersion:   tls.VersionTLS12,
	}
	if f.clientCA != "" {
		b, err := os.ReadFile(f.clientCA)
		if err != nil {
			return nil, "", fmt.Errorf("client authorities: %w", err)
		}
		cfg.ClientCAs, cfg.ClientAuth = x509.NewCertPool(), tls.RequireAndVerifyClientCert
		if !cfg.ClientCAs.AppendCertsFromPEM(b) {
			return nil, "", fmt.Errorf("client authorities %s: no certificate in it", f.clientCA)
		}
	}
	return tls.NewListener(ln, cfg), "https", nil
}
