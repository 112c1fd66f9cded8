package pull

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/deliver/credential"
	"github.com/ecrin-dev/ecrin/internal/host/trust/clientconf"
	"github.com/ecrin-dev/ecrin/internal/net/upstream"
)

// maxAnswer limits what is read of an answer, in bytes.
const maxAnswer = 8 << 20

// get makes a GET request. accept is the header Accept, "" for none.
func (p *pulling) get(ctx context.Context, url, accept string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	if accept != "" {
		req.Header.Set("Accept", accept)
	}
	if p.authorization != "" && strings.HasPrefix(url, p.base+"/") {
		req.Header.Set("Authorization", p.authorization)
	}
	return p.http.Do(req)
}

// said returns code and message of the first error of an answer, and closes it.
func said(resp *http.Response) (code, message string) {
	defer func() { _ = resp.Body.Close() }() // it is read as far as needed
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	var all struct {
		Errors []struct{ Code, Message string }
	}
	if json.Unmarshal(body, &all) == nil && len(all.Errors) > 0 {
		return all.Errors[0].Code, all.Errors[0].Message
	}
	text := strings.TrimSpace(string(body))
	return "", text[:min(len(text), 300)]
}

// login returns the command that stores a credential for the registry.
func (p *pulling) login() string {
	if p.Pod != nil {
		return p.podLogin()
	}
	if p.aws != nil {
		return "aws ecr get-login-password --region " + p.aws.region + " | docker login --username AWS --password-stdin " + p.ref.host
	}
	return "aws ecr get-login-password | docker login --username AWS --password-stdin " + p.ref.host + " (docker login " + p.ref.host +
		" for a registry that is no ECR)"
}

// credential finds the credential that docker and its kin would send.
func (p *pulling) credential(ctx context.Context) (string, *failure) {
	if p.ns != "" {
		return "none: a mirror gets no credential of " + p.ns, nil
	}
	file := filepath.Join(p.DockerConfig, "config.json")
	content, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", fail("the credentials cannot be read: "+err.Error(), "let this user read "+file)
	}
	conf, err := clientconf.ParseDockerClient(content)
	if err != nil {
		return "", fail(file+": "+err.Error(), "mend the file, or move it away and log in again: "+p.login())
	}
	if suffix, _ := conf.Helper(p.ref.host); suffix != "" {
		return p.fromHelper(ctx, "docker-credential-"+suffix)
	}
	if c, ok := credential.DockerLogin(content, p.ref.host); ok {
		p.user, p.password = c.Username, c.Password.Reveal()
		return "of " + p.user + ", from " + file, nil
	}
	return p.anonymous(ctx, "no credential for "+p.ref.host+" in "+file)
}

// fromHelper asks a credential helper.
func (p *pulling) fromHelper(ctx context.Context, program string) (string, *failure) {
	out, err := p.Helper(ctx, program, p.ref.host)
	var got struct{ Username, Secret string }
	switch {
	case err != nil && strings.Contains(out, "credentials not found"):
		return p.anonymous(ctx, program+" has no credential for "+p.ref.host)
	case err != nil && strings.Contains(err.Error(), "not in PATH"):
		return "", fail(program+" is not in PATH",
			"install "+program+", or take it out of "+filepath.Join(p.DockerConfig, "config.json")+" and log in: "+p.login())
	case err != nil:
		return "", fail(program+" fails: "+strings.TrimSpace(out+" "+err.Error()),
			"run it by hand: echo "+p.ref.host+" | "+program+" get; ecrin doctor checks the helpers of AWS")
	case json.Unmarshal([]byte(out), &got) != nil || got.Secret == "":
		return "", fail(program+" does not answer as a credential helper", "install the helper anew, or take it out of credHelpers")
	}
	p.user, p.password = got.Username, got.Secret
	return "of " + got.Username + ", from " + program, nil
}

// anonymous goes on without a credential if the registry lets clients without one read something.
func (p *pulling) anonymous(ctx context.Context, why string) (string, *failure) {
	resp, err := p.get(ctx, p.base+"/v2/", "")
	if err != nil {
		return "", fail("GET /v2/ fails: "+err.Error(), "look at the log of the server")
	}
	_ = resp.Body.Close() // only the header matters
	if resp.StatusCode == http.StatusOK || upstream.Bearer(resp.Header) != nil {
		return why + ": anonymous", nil
	}
	return "", fail(why+", and the registry lets nobody in without one", p.login())
}

// token asks whether the registry accepts the credential, and gets a token for the repository where the registry wants one.
func (p *pulling) token(ctx context.Context) (string, *failure) {
	if p.user != "" {
		p.authorization = "Basic " + base64.StdEncoding.EncodeToString([]byte(p.user+":"+p.password))
	}
	resp, err := p.get(ctx, p.base+"/v2/", "")
	if err != nil {
		return "", fail("GET /v2/ fails: "+err.Error(), "look at the log of the server")
	}
	if resp.StatusCode == http.StatusOK {
		_ = resp.Body.Close() // only the status matters
		return "accepted", nil
	}
	if p.ns != "" { // it has given the manifest without one
		_ = resp.Body.Close() // only the status matters
		return "none: the mirror answers without one", nil
	}
	challenge := upstream.Bearer(resp.Header)
	code, text := said(resp)
	if challenge == nil {
		return "", p.refused(resp, code, text)
	}
	return p.bearerToken(ctx, challenge)
}

// refused explains why a credential is not accepted.
func (p *pulling) refused(resp *http.Response, code, text string) *failure {
	if text == "" {
		text = resp.Status
	}
	f := fail("the registry refuses the credential: "+strings.TrimSpace(code+" "+text), "log in again: "+p.login())
	if strings.Contains(text, "expired") && p.aws != nil {
		f.cure = "log in again, for the region of the host, " + p.aws.region +
			"; a token of another region is refused with the same words: " + p.login()
	}
	p.explained(resp, f)
	return f
}

// explained adds what the server says about the request.
func (p *pulling) explained(resp *http.Response, f *failure) {
	if p.Explain == nil {
		return
	}
	for _, header := range []string{"X-Amzn-Requestid", "X-Request-Id", "X-Amz-Request-Id"} {
		if id := resp.Header.Get(header); id != "" {
			if text := p.Explain(context.WithoutCancel(resp.Request.Context()), id); text != "" {
				f.problem += "\n" + text
			}
			return
		}
	}
}

// bearerToken gets a token for pulls of the repository.
func (p *pulling) bearerToken(ctx context.Context, challenge map[string]string) (string, *failure) {
	u, err := url.Parse(challenge["realm"])
	if err != nil || u.Host == "" || u.Scheme != "https" && !strings.HasPrefix(p.base, "http://") {
		return "", fail("the registry names no usable realm for tokens", "look at the settings of the registry")
	}
	q := u.Query()
	q.Set("service", challenge["service"])
	q.Set("scope", "repository:"+p.ref.repo+":pull")
	u.RawQuery = q.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return "", fail(err.Error(), "look at the settings of the registry")
	}
	if p.user != "" {
		req.SetBasicAuth(p.user, p.password)
	}
	resp, err := p.http.Do(req)
	if err != nil {
		return "", fail("the token service fails: "+err.Error(), "look at what listens on "+u.Host)
	}
	if resp.StatusCode != http.StatusOK {
		code, text := said(resp)
		return "", p.refused(resp, code, text)
	}
	var got struct {
		Token       string `json:"token"`
		AccessToken string `json:"access_token"`
	}
	err = json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(&got)
	_ = resp.Body.Close() // it was read
	if got.Token == "" {
		got.Token = got.AccessToken
	}
	if err != nil || got.Token == "" {
		return "", fail("the token service gives no token", "look at the log of "+u.Host)
	}
	p.authorization = "Bearer " + got.Token
	return "a token of " + u.Host, nil
}
